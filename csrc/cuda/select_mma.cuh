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
  int groups;     // groups of queries per block, each held by different warps: 1, 2 or 4
};

// The queries of a warp, 16 * kTiles. kSteps > 0: their operands stay in registers.
template <class Pairing, int kSteps, int kTiles, bool kRaw>
struct MmaWarp {
  // Times 8 codes compared together. With few long codes in a tile only 16, so that every warp of
  // the block has some; else as many as make 32 sums per lane.
  static constexpr int kColumns = kSteps == 0 && kTiles == 1 ? 2 : 8 / kTiles;
  static constexpr int kSums = 4 * kTiles * kColumns;
  const MmaTask& task;
  int64_t first;  // query
  int lane, steps;
  uint4 held[kSteps > 0 ? kTiles * kSteps : 1];
  int bias[kTiles][4];
  int shift = 0;  // kRaw: bits by which the lane's own words are shifted

  __device__ __forceinline__ MmaWarp(const MmaTask& t, int64_t first_query)
      : task(t), first(first_query), lane(threadIdx.x % kWarp), steps(steps_of<Pairing>(t.codes)) {
    if constexpr (kSteps > 0) {
#pragma unroll
      for (int i = 0; i < kTiles * kSteps; ++i) held[i] = operand(i / kSteps, i % kSteps);
    }
    // By __shfl_sync, so that the compiler does not compute it again for each product.
    if constexpr (kRaw) shift = __shfl_sync(kAll, 8 * (own_byte() % 4), lane);
  }

  __device__ __forceinline__ uint4 operand(int i, int step) const {
    const int64_t tile = first / 16 + i;
    if (tile * 16 >= task.queries.count) return {0, 0, 0, 0};
    return task.fragments[(tile * steps + step) * kWarp + lane];
  }

  // biases: of the warp's queries, in shared memory.
  __device__ __forceinline__ void read_biases(const int* biases) {
#pragma unroll
    for (int i = 0; i < kTiles; ++i) {
      bias[i][0] = biases[16 * i + lane / 4];
      bias[i][2] = biases[16 * i + lane / 4 + 8];
      // Equal values, hidden from the compiler, which would otherwise copy them for each product.
      bias[i][1] = __shfl_sync(kAll, bias[i][0], lane);
      bias[i][3] = __shfl_sync(kAll, bias[i][2], lane);
    }
  }

  // Words from 8 codes of a tile to the next 8.
  __device__ __forceinline__ int stride() const {
    if constexpr (kRaw) return 2 * task.codes.bytes;
    if constexpr (kSteps > 0) return 32 * ((kSteps * Pairing::kWords + 3) / 4 | 1);
    return 8 * spread_stride(task.codes);
  }
  // Byte of a tile at which word `word` of a code begins.
  __device__ __forceinline__ int byte_of(int code, int word) const {
    if constexpr (kRaw) {
      return lead_of(task.codes) + code * task.codes.bytes + 4 * word;
    }
    return code * (stride() / 2) + 4 * word;
  }
  // The word that begins so many bits behind `words`; kRaw: at any byte.
  static __device__ __forceinline__ uint32_t shifted(const uint32_t* words, int bits) {
    if constexpr (!kRaw) return *words;
    return __funnelshift_r(words[0], words[1], bits);
  }

  // Byte of a tile at which the lane's own word of its first code begins. In the next 8 codes it
  // begins stride() words later, at the same byte of a word.
  __device__ __forceinline__ int own_byte() const {
    return byte_of(lane / 4, Pairing::word(lane % 4));
  }

  // Compares the warp's queries with 8 * kColumns codes of a tile from code `at` on, a multiple of
  // 8, where the lane's own word is in `column`. The tile's first code has position `start`.
  __device__ __forceinline__ void compare(const uint32_t* words, const uint32_t* column, int at,
                                          int64_t start, int64_t last) {
    int sums[kColumns][kTiles][4];
    const auto multiply = [&](int step, bool begin, const auto& query) {
      uint2 code[kColumns];
#pragma unroll
      for (int j = 0; j < kColumns; ++j) {
        const uint32_t* const from = column + j * stride() + step * Pairing::kWords;
        code[j] = Pairing::code(shifted(from, shift), lane % 4);
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
    for (int n = 0; n < kSums; ++n) all &= sums[n / 4 / kTiles][n / 4 % kTiles][n % 4];
    const bool none = (all >> Pairing::kBit & 1) != 0;
    if (__ballot_sync(kAll, !none) == 0) return;
    unsigned hits = 0;
#pragma unroll
    for (int n = 0; n < kSums; ++n) {
      const int sum = sums[n / 4 / kTiles][n / 4 % kTiles][n % 4];
      hits |= static_cast<unsigned>(~sum >> Pairing::kBit & 1) << n;
    }
    enter(hits, words, at, start, last);
    __syncwarp();
  }

  // Appends the pairs in `hits`: bit n is sum n % 4 of tile n / 4 % kTiles and columns n / 4 /
  // kTiles. The limits are read again: those of the products are of the tile's beginning.
  __device__ __forceinline__ void enter(unsigned hits, const uint32_t* words, int at, int64_t start,
                                        int64_t last) {
    const int bytes = task.codes.bytes;
#pragma unroll 1
    while (hits != 0) {
      const int n = __ffs(static_cast<int>(hits)) - 1;
      hits &= hits - 1;
      const int64_t row = first + 16 * (n / 4 % kTiles) + lane / 4 + 8 * (n / 2 % 2);
      const int column = at + 8 * (n / 4 / kTiles) + 2 * (lane % 4) + n % 2;
      const int limit = limit_of(task.found, row);
      if (start + column >= last || limit < 0) continue;
      const uint8_t* const query = task.queries.data + row * task.queries.stride;
      int distance = 0;
#pragma unroll 1
      for (int i = 0; 4 * i < bytes; ++i) {
        const int byte = byte_of(column, i);
        const uint32_t code = shifted(words + byte / 4, 8 * (byte % 4));
        distance += __popc((code ^ load<uint32_t>(query + 4 * i)) & low_bytes(bytes - 4 * i));
      }
      if (distance <= limit) append(task.found, row, distance, start + column);
    }
  }
};

// Threads i < held() keep the bias of the block's query i for the next tile, read while this one is
// compared: one warp reads a limit for all. It is as old as a tile, and a limit only falls, so that
// no pair is lost; what enters is compared with the present one.
template <class Pairing>
struct Biases {
  const MmaTask& task;
  int held;  // queries of the block
  int* shared;
  int next = 0;  // limit

  __device__ __forceinline__ Biases(const MmaTask& t, int tiles, uint8_t* memory)
      : task(t), held(t.groups * 16 * tiles), shared(reinterpret_cast<int*>(memory)) {}

  __device__ __forceinline__ void load_next() {
    const int i = threadIdx.x;
    if (i >= held) return;
    next = limit_of(task.found, int64_t{blockIdx.x} * held + i);
  }
  __device__ __forceinline__ void store(int buffer) {
    if (static_cast<int>(threadIdx.x) >= held) return;
    shared[buffer * held + threadIdx.x] = Pairing::bias(next, 8 * task.codes.bytes);
  }
};

template <class Pairing, int kSteps, int kTiles, bool kRaw>
__global__ void __launch_bounds__(kMmaWarps * kWarp, 2) select_mma(MmaTask task) {
  using Warp = MmaWarp<Pairing, kSteps, kTiles, kRaw>;
  constexpr int kCodes = 8 * Warp::kColumns;
  const Rows& codes = task.codes;
  Biases<Pairing> biases(task, kTiles, shared_memory());
  auto* const words = reinterpret_cast<uint32_t*>(biases.shared + 2 * biases.held);
  const int size = tile_words<kRaw>(codes, task.tile);
  // Words beyond the end of a code, and codes beyond the last, must be initialised; their values do
  // not affect the result.
  for (int i = threadIdx.x; i < 2 * size; i += blockDim.x) words[i] = 0;
  biases.load_next();
  biases.store(0);
  __syncthreads();
  const int warp = threadIdx.x / kWarp, parts = kMmaWarps / task.groups;
  const int group = warp % task.groups;
  Warp queries(task, (int64_t{blockIdx.x} * task.groups + group) * 16 * kTiles);
  const int64_t first = blockIdx.y * task.chunk;
  const int64_t last = min_of(first + task.chunk, codes.count);
  int buffer = 0;
  copy_tile<kRaw>(codes, first, static_cast<int>(min_of(task.tile, last - first)), words);
  for (int64_t start = first; start < last; start += task.tile, buffer ^= 1) {
    copy_async_wait();
    __syncthreads();
    const int64_t next = start + task.tile;
    if (next < last) {
      copy_tile<kRaw>(codes, next, static_cast<int>(min_of(task.tile, last - next)),
                         words + (buffer ^ 1) * size);
      biases.load_next();
    }
    queries.read_biases(biases.shared + buffer * biases.held + group * 16 * kTiles);
    const auto end = static_cast<int>(min_of(task.tile, last - start));
    const uint32_t* const tile = words + buffer * size;
    int at = warp / task.groups * kCodes;
    const uint32_t* column = tile + at / 8 * queries.stride() + queries.own_byte() / 4;
    const int step = parts * kCodes / 8 * queries.stride();
#pragma unroll 1
    for (; at < end; at += parts * kCodes, column += step) {
      queries.compare(tile, column, at, start, last);
    }
    biases.store(buffer ^ 1);
  }
}

// Codes per tile: 16 KiB in flight, within the shared memory that lets three blocks run at once. Up
// to 16 queries are held by every warp: a tile then has codes for each of them, if it fits at all.
inline int mma_tile(const Context& context, const Rows& codes, int tiles) {
  const int wanted = (16 << 10) / codes.bytes, fits = (8 << 10) / spread_stride(codes);
  const int tile = std::clamp(std::min(wanted, fits) / 64 * 64, 64, 1024);
  const int for_all = codes.bytes > 32 ? 16 * kMmaWarps : 64 * kMmaWarps;
  const int64_t bytes = int64_t{8} * for_all * spread_stride(codes) + (4 << 10);
  return tiles == 1 && bytes <= context.device.shared_bytes ? std::max(tile, for_all) : tile;
}

// Shared memory of select_mma: biases of the block's queries, 16 in each of `tiles`, and codes.
template <bool kRaw>
int64_t mma_bytes(const Rows& codes, int tile, int tiles) {
  return int64_t{8} * (16 * tiles + tile_words<kRaw>(codes, tile));
}

template <class Pairing>
void select_on_tensor_cores(const Context& context, const Packed& packed, const Rows& codes,
                            const Found& found, uint32_t* words) {
  MmaTask task{found, rows_of(packed, codes.bytes), reinterpret_cast<uint4*>(words), codes, 0, 0,
               0};
  const int steps = steps_of<Pairing>(codes);
  const int64_t fragments = ceil_div(packed.count, 16) * steps * kWarp;
  launch(make_fragments<Pairing>, grid_for(fragments, 256), 256, 0, context.stream, task.queries,
         fragments, reinterpret_cast<uint4*>(words));
  const int tiles = packed.count <= 16 ? 1 : 4;
  const int64_t groups = ceil_div(packed.count, 16 * tiles);
  task.groups = groups >= 4 ? 4 : groups >= 2 ? 2 : 1;
  task.tile = mma_tile(context, codes, tiles);
  const int64_t blocks = ceil_div(groups, task.groups);
  task.chunk = chunk_codes(context, blocks, codes, task.tile, (64 << 10) / codes.bytes);
  const dim3 grid(static_cast<unsigned>(blocks),
                  static_cast<unsigned>(ceil_div(codes.count, task.chunk)));
  const auto run = [&](auto held, auto raw) {
    constexpr int kSteps = decltype(held)::value;
    constexpr bool kRaw = decltype(raw)::value;
    const auto kernel =
        tiles == 1 ? select_mma<Pairing, kSteps, 1, kRaw> : select_mma<Pairing, kSteps, 4, kRaw>;
    launch(kernel, grid, kMmaWarps * kWarp, mma_bytes<kRaw>(codes, task.tile, task.groups * tiles),
           context.stream, task);
  };
  const auto with_layout = [&](auto held) {
    raw_tiles(codes) ? run(held, std::true_type{}) : run(held, std::false_type{});
  };
  if (steps == 1) return with_layout(std::integral_constant<int, 1>{});
  if (steps == 2) return with_layout(std::integral_constant<int, 2>{});
  with_layout(std::integral_constant<int, 0>{});
}

}  // namespace semicon_fast::cuda
