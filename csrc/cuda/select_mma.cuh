// The selection kernel on tensor cores, a template over the Pairing.
#pragma once

#include "mma.cuh"

namespace semicon_fast::cuda {

constexpr int kMmaWarps = 8;

struct MmaTask {
  Found found;
  Rows queries;            // packed
  const uint4* fragments;  // the queries as operands
  Rows codes;
  int64_t chunk;  // codes per block
  int tile;       // codes in each of two buffers in shared memory, a multiple of 64
  int groups;     // groups of queries per block, each held by different warps: 1, 2, 4 or 8
};

// The queries of a warp, 16 * kTiles. kSteps > 0: their operands stay in registers.
template <class Pairing, int kSteps, int kTiles>
struct MmaWarp {
  static constexpr int kColumns = 8 / kTiles;  // times 8 codes compared together: 32 sums per lane
  const MmaTask& task;
  int64_t first;  // query
  int lane, steps;
  uint4 held[kSteps > 0 ? kTiles * kSteps : 1];
  int bias[kTiles][4];

  __device__ __forceinline__ MmaWarp(const MmaTask& t, int64_t first_query)
      : task(t), first(first_query), lane(threadIdx.x % kWarp), steps(steps_of<Pairing>(t.codes)) {
    if constexpr (kSteps > 0) {
#pragma unroll
      for (int i = 0; i < kTiles * kSteps; ++i) held[i] = operand(i / kSteps, i % kSteps);
    }
  }

  __device__ __forceinline__ uint4 operand(int i, int step) const {
    const int64_t tile = first / 16 + i;
    if (tile * 16 >= task.queries.count) return {0, 0, 0, 0};
    return task.fragments[(tile * steps + step) * kWarp + lane];
  }

  __device__ __forceinline__ void read_limits() {
    const int bits = 8 * task.codes.bytes;
#pragma unroll
    for (int i = 0; i < kTiles; ++i) {
      const int64_t row = first + 16 * i + lane / 4;
      bias[i][0] = Pairing::bias(limit_of(task.found, row), bits);
      bias[i][2] = Pairing::bias(limit_of(task.found, row + 8), bits);
      // Equal values, hidden from the compiler, which would otherwise copy them for each product.
      bias[i][1] = __shfl_sync(kAll, bias[i][0], lane);
      bias[i][3] = __shfl_sync(kAll, bias[i][2], lane);
    }
  }

  // Stride of codes in a tile, in words.
  __device__ __forceinline__ int stride() const {
    if constexpr (kSteps > 0) return 4 * ((kSteps * Pairing::kWords + 3) / 4 | 1);
    return spread_stride(task.codes);
  }
  // Offset of the lane's first word in a tile.
  __device__ __forceinline__ int offset() const {
    return lane / 4 * stride() + Pairing::word(lane % 4);
  }

  // Compares the warp's queries with 8 * kColumns codes from position `start` on, whose words begin
  // offset() before `column`.
  __device__ __forceinline__ void compare(const uint32_t* column, int64_t start, int64_t last) {
    int sums[kColumns][kTiles][4];
    const auto multiply = [&](int step, bool begin, const auto& query) {
      uint2 code[kColumns];
#pragma unroll
      for (int j = 0; j < kColumns; ++j) {
        code[j] = Pairing::code(column[8 * j * stride() + step * Pairing::kWords], lane % 4);
      }
#pragma unroll
      for (int i = 0; i < kTiles; ++i) {
        const uint4 a = query(i);
#pragma unroll
        for (int j = 0; j < kColumns; ++j) {
          Pairing::multiply(sums[j][i], a, code[j], begin ? bias[i] : sums[j][i]);
        }
      }
    };
    if constexpr (kSteps > 0) {
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        multiply(step, step == 0, [&](int i) { return held[i * kSteps + step]; });
      }
    } else {
      multiply(0, true, [&](int i) { return operand(i, 0); });
#pragma unroll 1
      for (int step = 1; step < steps; ++step) {
        multiply(step, false, [&](int i) { return operand(i, step); });
      }
    }
    int all = ~0;
#pragma unroll
    for (int n = 0; n < 32; ++n) all &= sums[n / 4 / kTiles][n / 4 % kTiles][n % 4];
    const bool none = (all >> Pairing::kBit & 1) != 0;
    if (__ballot_sync(kAll, !none) == 0) return;
    unsigned hits = 0;
#pragma unroll
    for (int n = 0; n < 32; ++n) {
      const int sum = sums[n / 4 / kTiles][n / 4 % kTiles][n % 4];
      hits |= static_cast<unsigned>(~sum >> Pairing::kBit & 1) << n;
    }
    enter(hits, column - offset(), start, last);
    __syncwarp();
  }

  // Appends the pairs in `hits`: bit n is sum n % 4 of tile n / 4 % kTiles and columns n / 4 /
  // kTiles.
  __device__ __forceinline__ void enter(unsigned hits, const uint32_t* words, int64_t start,
                                        int64_t last) {
    const int count = (task.codes.bytes + 3) / 4;
#pragma unroll 1
    while (hits != 0) {
      const int n = __ffs(static_cast<int>(hits)) - 1;
      hits &= hits - 1;
      const int64_t row = first + 16 * (n / 4 % kTiles) + lane / 4 + 8 * (n / 2 % 2);
      const int column = 8 * (n / 4 / kTiles) + 2 * (lane % 4) + n % 2;
      const int limit = limit_of(task.found, row);
      if (start + column >= last || limit < 0) continue;
      const uint32_t* const code = words + column * stride();
      const uint8_t* const query = task.queries.data + row * task.queries.stride;
      int distance = 0;
      for (int i = 0; i < count; ++i) distance += __popc(code[i] ^ load<uint32_t>(query + 4 * i));
      if (distance <= limit) append(task.found, row, distance, start + column);
    }
  }
};

template <class Pairing, int kSteps, int kTiles>
__global__ void __launch_bounds__(kMmaWarps * kWarp, 2) select_mma(MmaTask task) {
  using Warp = MmaWarp<Pairing, kSteps, kTiles>;
  constexpr int kCodes = 8 * Warp::kColumns;
  auto* const words = reinterpret_cast<uint32_t*>(shared_memory());
  const Rows& codes = task.codes;
  const int size = task.tile * spread_stride(codes);
  // Words beyond the end of a code, and codes beyond the last, must be initialised; their values do
  // not affect the result.
  for (int i = threadIdx.x; i < 2 * size; i += blockDim.x) words[i] = 0;
  __syncthreads();
  const int warp = threadIdx.x / kWarp, parts = kMmaWarps / task.groups;
  const int64_t group = int64_t{blockIdx.x} * task.groups + warp % task.groups;
  Warp queries(task, group * 16 * kTiles);
  const int64_t first = blockIdx.y * task.chunk;
  const int64_t last = min_of(first + task.chunk, codes.count);
  int buffer = 0;
  copy_tile(codes, first, static_cast<int>(min_of(task.tile, last - first)), words);
  for (int64_t start = first; start < last; start += task.tile, buffer ^= 1) {
    copy_async_wait();
    __syncthreads();
    const int64_t next = start + task.tile;
    if (next < last) {
      copy_tile(codes, next, static_cast<int>(min_of(task.tile, last - next)),
                words + (buffer ^ 1) * size);
    }
    queries.read_limits();
    const int begin = warp / task.groups * kCodes, step = parts * kCodes;
    const uint32_t* column = words + buffer * size + begin * queries.stride() + queries.offset();
    const int64_t end = min_of(next, last);
#pragma unroll 1
    for (int64_t i = start + begin; i < end; i += step, column += step * queries.stride()) {
      queries.compare(column, i, last);
    }
  }
}

// Codes per tile: several KiB in flight, within the shared memory that lets three blocks run at
// once.
inline int mma_tile(const Rows& codes) {
  const int wanted = (8 << 10) / codes.bytes, fits = (16 << 10) / spread_stride(codes) / 4 * 2;
  return std::clamp(std::min(wanted, fits) / 64 * 64, 64, 1024);
}

template <class Pairing>
void select_on_tensor_cores(const Context& context, const Packed& packed, const Rows& codes,
                            const Found& found, uint32_t* words) {
  MmaTask task{found, rows_of(packed, codes), reinterpret_cast<uint4*>(words), codes, 0, 0, 0};
  const int steps = steps_of<Pairing>(codes);
  const int64_t fragments = ceil_div(packed.count, 16) * steps * kWarp;
  launch(make_fragments<Pairing>, grid_for(fragments, 256), 256, 0, context.stream, task.queries,
         fragments, reinterpret_cast<uint4*>(words));
  const int tiles = packed.count <= 16 ? 1 : 4;
  const int64_t groups = ceil_div(packed.count, 16 * tiles);
  task.groups = groups >= 4 ? 4 : groups >= 2 ? 2 : 1;
  task.tile = mma_tile(codes);
  const int64_t blocks = ceil_div(groups, task.groups);
  task.chunk = chunk_codes(context, blocks, codes, task.tile);
  const dim3 grid(static_cast<unsigned>(blocks),
                  static_cast<unsigned>(ceil_div(codes.count, task.chunk)));
  const auto run = [&](auto held) {
    constexpr int kSteps = decltype(held)::value;
    const auto kernel =
        tiles == 1 ? select_mma<Pairing, kSteps, 1> : select_mma<Pairing, kSteps, 4>;
    launch(kernel, grid, kMmaWarps * kWarp, int64_t{8} * task.tile * spread_stride(codes),
           context.stream, task);
  };
  if (steps == 1) return run(std::integral_constant<int, 1>{});
  if (steps == 2) return run(std::integral_constant<int, 2>{});
  return run(std::integral_constant<int, 0>{});
}

}  // namespace semicon_fast::cuda
