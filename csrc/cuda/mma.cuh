// Selection for many queries on tensor cores. A warp multiplies 16 * kTiles queries by 8 codes at a
// time. The products start from a bias chosen such that one bit of a sum is 0 exactly if the code
// is within its query's limit. An AND over all sums, half an operation per pair, then tells whether
// any code is; only in that case are distances computed.
//
// A Pairing defines how bits are converted to operands. Rows of A are queries, columns of B are
// codes; one step covers kWords words of a code along the inner dimension.
#pragma once

#include "sweep.cuh"

namespace semicon_fast::cuda {

// D = C + |a & ~b| + |~a & b|, the distance: a step is [a, ~a] . [~b, b] over 4 words. Beyond the
// end of a code the operands for both a and ~a are 0, so that b does not matter.
struct Binary {
  static constexpr int kWords = 4;
  static constexpr int kBit = 13;  // distances are at most 4096

  // Which word of a step lane t needs.
  static __device__ __forceinline__ int word(int t) { return t; }
  static __device__ uint2 query(uint32_t word, int bytes_left, int) {
    const uint32_t there = low_bytes(bytes_left);
    return {word & there, ~word & there};
  }
  static __device__ __forceinline__ uint2 code(uint32_t word, int) { return {~word, word}; }
  // Bit kBit of distance + bias is set exactly if distance > limit; the sum is at most 2^kBit +
  // 4096.
  static __device__ __forceinline__ int bias(int limit, int) { return (1 << kBit) - 1 - limit; }
  static __device__ __forceinline__ void multiply(int (&d)[4], const uint4& a, const uint2& b,
                                                  const int (&c)[4]) {
    mma_b1(d, a, b, c);
  }
};

// D = C - a . b with bits as +-1, and -a . b = 2 * distance - bits. A step is one word; beyond the
// end of a code a is 0.
struct Int8 {
  static constexpr int kWords = 1;
  static constexpr int kBit = 14;

  // The four lowest bits as four bytes: 1 if the bit is set, else -1.
  static __device__ __forceinline__ uint32_t signs(uint32_t bits) {
    const uint32_t ones = ((bits & 0xf) * 0x00204081u) & 0x01010101u;
    return ones + (ones ^ 0x01010101u) * 0xffu;
  }
  static __device__ __forceinline__ int word(int) { return 0; }
  static __device__ uint2 query(uint32_t word, int bytes_left, int t) {
    return {t / 2 < bytes_left ? signs(~word >> (4 * t)) : 0u,
            2 + t / 2 < bytes_left ? signs(~word >> (16 + 4 * t)) : 0u};
  }
  static __device__ __forceinline__ uint2 code(uint32_t word, int t) {
    return {signs(word >> (4 * t)), signs(word >> (16 + 4 * t))};
  }
  static __device__ __forceinline__ int bias(int limit, int bits) {
    return (1 << kBit) + bits - 2 * limit - 2;
  }
  static __device__ __forceinline__ void multiply(int (&d)[4], const uint4& a, const uint2& b,
                                                  const int (&c)[4]) {
    mma_s8(d, a, b, c);
  }
};

template <class Pairing>
__device__ __host__ __forceinline__ int steps_of(const Rows& codes) {
  return ((codes.bytes + 3) / 4 + Pairing::kWords - 1) / Pairing::kWords;
}

// Converts queries to operands for each lane: (ceil(queries / 16), steps, 32), padded with zeros.
template <class Pairing>
__global__ void __launch_bounds__(256)
    make_fragments(Rows queries, int64_t count, uint4* fragments) {
  const int steps = steps_of<Pairing>(queries);
  const int64_t stride = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += stride) {
    const int lane = i % kWarp, step = i / kWarp % steps;
    const int word = step * Pairing::kWords + Pairing::word(lane % 4);
    uint2 halves[2];
    for (int half = 0; half < 2; ++half) {
      const int64_t row = i / kWarp / steps * 16 + lane / 4 + 8 * half;
      const int left = row < queries.count ? queries.bytes - 4 * word : 0;
      const uint32_t value =
          left > 0 ? load<uint32_t>(queries.data + row * queries.stride + 4 * word) : 0;
      halves[half] = Pairing::query(value, left, lane % 4);
    }
    fragments[i] = uint4{halves[0].x, halves[1].x, halves[0].y, halves[1].y};
  }
}

// How codes lie in a tile in shared memory: each from a word on, spread_stride() words apart, zeros
// beyond its end; or raw, as in memory without gaps, the first at byte lead_of(): codes whose rows
// are not aligned to 4 bytes, so that they too are copied asynchronously.
inline bool raw_tiles(const Rows& codes) {
  return codes.stride == codes.bytes && (codes.bytes % 4 != 0 || codes.align < 4);
}

// In words: 4 times an odd number, so that the 32 words that a warp reads at once are in 32
// different banks.
__device__ __host__ __forceinline__ int spread_stride(const Rows& codes) {
  return 4 * (codes.quads | 1);
}

__device__ __host__ __forceinline__ int lead_of(const Rows& codes) {
  return static_cast<int>(reinterpret_cast<uintptr_t>(codes.data) % 16);
}

// Words of a tile. kRaw: what a lane reads beyond the end of the last code is included.
template <bool kRaw>
__device__ __host__ __forceinline__ int tile_words(const Rows& codes, int tile) {
  if (!kRaw) return tile * spread_stride(codes);
  return (15 + tile * codes.bytes + 16 * codes.quads + 4 + 15) / 16 * 4;
}

// Copies whole rows, piece by piece; rows and pieces are counted without a division for each.
template <class T>
__device__ void copy_rows(const Rows& codes, int64_t start, int count, uint32_t* words) {
  const int pieces = codes.bytes / static_cast<int>(sizeof(T)), stride = spread_stride(codes);
  const int rows = blockDim.x / pieces, rest = blockDim.x % pieces;
  int row = threadIdx.x / pieces, piece = threadIdx.x % pieces;
  while (row < count) {
    copy_async<T>(reinterpret_cast<T*>(words + row * stride) + piece,
                  codes.data + (start + row) * codes.stride + piece * int64_t{sizeof(T)});
    row += rows;
    piece += rest;
    if (piece < pieces) continue;
    piece -= pieces;
    ++row;
  }
}

// Copies the aligned groups of 16 bytes in which the codes lie. `start` is a multiple of 16, so
// that every tile begins at the same byte of a group.
__device__ inline void copy_groups(const Rows& codes, int64_t start, int count, uint32_t* words) {
  const uint8_t* const first = codes.data + start * codes.bytes - lead_of(codes);
  const int bytes = lead_of(codes) + count * codes.bytes;
  auto* const to = reinterpret_cast<uint8_t*>(words);
  for (int i = 16 * threadIdx.x; i < bytes; i += 16 * blockDim.x) {
    const uint8_t* const from = first + i;
    if (from >= codes.begin && from + 16 <= codes.end) {
      copy_async<uint4>(to + i, from);
      continue;
    }
    for (int j = 0; j < 16; ++j) {
      if (from + j >= codes.begin && from + j < codes.end) to[i + j] = from[j];
    }
  }
}

// Starts copying codes start to start + count - 1 into a tile.
template <bool kRaw>
__device__ inline void copy_tile(const Rows& codes, int64_t start, int count, uint32_t* words) {
  if constexpr (kRaw) {
    return copy_groups(codes, start, count, words);
  } else {
    const int whole = codes.bytes % 16 == 0 ? 16 : codes.bytes % 8 == 0 ? 8 : 4;
    const int piece = codes.align < whole ? codes.align : whole;
    if (piece == 16) return copy_rows<uint4>(codes, start, count, words);
    if (piece == 8) return copy_rows<uint2>(codes, start, count, words);
    if (piece == 4 && codes.bytes % 4 == 0) return copy_rows<uint32_t>(codes, start, count, words);
    for (int i = threadIdx.x; i < count * codes.quads; i += blockDim.x) {
      const int row = i / codes.quads, quad = i % codes.quads;
      *reinterpret_cast<uint4*>(words + row * spread_stride(codes) + 4 * quad) =
          load_quad(codes, start + row, quad);
    }
  }
}

}  // namespace semicon_fast::cuda
