// Selection for many queries without tensor cores: each thread holds one query and compares it with
// codes that its block has read into shared memory.
#include "sweep.cuh"

namespace semicon_fast::cuda {
namespace {

// Appends the codes within the query's limit, which other blocks may lower at the same time.
struct Select {
  Found found;
  int64_t query;
  int limit;

  __device__ void next_tile() { limit = limit_of(found, query); }
  __device__ void operator()(int64_t position, const int (&distances)[kBatch], int count) {
    int least = distances[0];
#pragma unroll
    for (int i = 1; i < kBatch; ++i) least = distances[i] < least ? distances[i] : least;
    if (least > limit) return;
#pragma unroll 1
    for (int i = 0; i < count; ++i) {
      int distance = distances[0];
#pragma unroll
      for (int j = 1; j < kBatch; ++j) distance = i == j ? distances[j] : distance;
      if (distance <= limit) append(found, query, distance, position + i);
    }
  }
};

template <int kWords>
__global__ void __launch_bounds__(kLanes, 8)
    select_lanes(Found found, Rows queries, Rows codes, int tile, int64_t chunk) {
  const int64_t query = int64_t{blockIdx.x} * kLanes + threadIdx.x;
  const int64_t first = blockIdx.y * chunk;
  Select select{found, query, -1};
  sweep<kWords>(queries, query, codes, first, min_of(first + chunk, codes.count), tile, select);
}

}  // namespace

void select_popcount(const Context& context, const Packed& queries, const Rows& codes,
                     const Found& found) {
  const Rows lanes = rows_of(queries, codes.bytes);
  const int64_t blocks = ceil_div(queries.count, kLanes);
  const int tile = tile_codes(codes);
  const int64_t chunk = chunk_codes(context, blocks, codes, tile, 8 * tile);
  const dim3 grid(static_cast<unsigned>(blocks),
                  static_cast<unsigned>(ceil_div(codes.count, chunk)));
  with_words(codes.bytes, [&](auto words) {
    constexpr int kWords = decltype(words)::value;
    launch(select_lanes<kWords>, grid, kLanes, sweep_bytes<kWords>(codes, kLanes, tile),
           context.stream, found, lanes, codes, tile, chunk);
  });
}

}  // namespace semicon_fast::cuda
