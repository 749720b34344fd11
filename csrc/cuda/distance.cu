// Hamming distance of every pair. Each thread holds a code of the database, so that writes are
// coalesced.
#include "sweep.cuh"

namespace semicon_fast::cuda {
namespace {

struct Write {
  int32_t* to;
  int64_t stride;
  bool there;

  __device__ void next_tile() {}
  __device__ void operator()(int64_t query, const int (&distances)[kBatch], int count) {
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      if (there && i < count) to[(query + i) * stride] = distances[i];
    }
  }
};

template <int kWords>
__global__ void __launch_bounds__(kLanes)
    write_distances(Rows queries, Rows codes, int tile, int64_t chunk, int32_t* distances) {
  const int64_t code = int64_t{blockIdx.x} * kLanes + threadIdx.x, first = blockIdx.y * chunk;
  Write write{distances + code, codes.count, code < codes.count};
  sweep<kWords>(codes, code, queries, first, min_of(first + chunk, queries.count), tile, write);
}

}  // namespace

void distance(const Context& context, const Codes& queries, const Codes& database,
              int32_t* distances) {
  if (queries.count == 0 || database.count == 0) return;
  const Rows rows = rows_of(queries), codes = rows_of(database);
  const int tile = tile_codes(rows);
  const int64_t blocks = ceil_div(codes.count, kLanes);
  const int64_t chunk = chunk_codes(context, blocks, rows, tile, 8 * tile);
  const dim3 grid(static_cast<unsigned>(blocks),
                  static_cast<unsigned>(ceil_div(rows.count, chunk)));
  with_words(codes.bytes, [&](auto words) {
    constexpr int kWords = decltype(words)::value;
    launch(write_distances<kWords>, grid, kLanes, sweep_bytes<kWords>(rows, kLanes, tile),
           context.stream, rows, codes, tile, chunk, distances);
  });
}

}  // namespace semicon_fast::cuda
