// Many queries on tensor cores. A warp multiplies 16 * kTiles queries by 8 codes at a time; what it
// adds to the products makes one bit of a sum 0 exactly where the code is within its query's limit,
// so that half an operation a pair, an AND over the sums, finds out whether any is. Only then are
// distances computed.
//
// A Pairing says how bits become operands. Rows of A are queries, columns of B codes; in one step
// the inner dimension takes kWords words of a code.
#pragma once

#include "sweep.cuh"

namespace semicon_fast::cuda {

// D = C + |a & ~b| + |~a & b|, the distance: a step is [a, ~a] . [~b, b] over 4 words. Past the end
// of a code a and what stands for ~a are 0, whatever b is.
struct Binary {
  static constexpr int kWords = 4;
  static constexpr int kBit = 13;  // distances are at most 4096

  // Which word of a step a lane needs.
  static __device__ __forceinline__ int word(int t) { return t; }
  static __device__ uint2 query(uint32_t word, int bytes_left, int) {
    const uint32_t there = bytes_left >= 4   ? ~0u
                           : bytes_left <= 0 ? 0u
                                             : (1u << (8 * bytes_left)) - 1;
    return {word & there, ~word & there};
  }
  static __device__ __forceinline__ uint2 code(uint32_t word, int) { return {~word, word}; }
  // distance + bias has kBit unless distance <= limit; 2^kBit + 4096 at most.
  static __device__ __forceinline__ int bias(int limit, int) { return (1 << kBit) - 1 - limit; }
  static __device__ __forceinline__ void multiply(int (&d)[4], const uint4& a, const uint2& b,
                                                  const int (&c)[4]) {
    mma_b1(d, a, b, c);
  }
};

// D = C - a . b with bits as +-1: 2 * distance - bits. A step is one word; past the end of a code
// a is 0.
struct Int8 {
  static constexpr int kWords = 1;
  static constexpr int kBit = 14;

  // The four lowest bits as bytes: 1 where a bit is set, else -1.
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

// Queries as operands, lane by lane: (ceil(queries / 16), steps, 32); queries past the end are 0.
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

// Words between codes of a tile: 4 times an odd number, so that the 32 words which a warp reads at
// once are in 32 banks.
__device__ __host__ __forceinline__ int spread_stride(const Rows& codes) {
  return 4 * (codes.quads | 1);
}

template <class T>
__device__ void copy_tile_by(const Rows& codes, int64_t start, int count, uint32_t* words) {
  const int pieces = codes.bytes / static_cast<int>(sizeof(T)), stride = spread_stride(codes);
  for (int i = threadIdx.x; i < count * pieces; i += blockDim.x) {
    const int row = i / pieces, piece = i % pieces;
    copy_async<T>(reinterpret_cast<T*>(words + row * stride) + piece,
                  codes.data + (start + row) * codes.stride + piece * int64_t{sizeof(T)});
  }
}

// Starts to copy codes start to start + count - 1.
__device__ inline void copy_tile(const Rows& codes, int64_t start, int count, uint32_t* words) {
  const int whole = codes.bytes % 16 == 0 ? 16 : codes.bytes % 8 == 0 ? 8 : 4;
  const int piece = codes.align < whole ? codes.align : whole;
  if (piece == 16) return copy_tile_by<uint4>(codes, start, count, words);
  if (piece == 8) return copy_tile_by<uint2>(codes, start, count, words);
  if (piece == 4 && codes.bytes % 4 == 0) return copy_tile_by<uint32_t>(codes, start, count, words);
  for (int i = threadIdx.x; i < count * codes.quads; i += blockDim.x) {
    const int row = i / codes.quads, quad = i % codes.quads;
    *reinterpret_cast<uint4*>(words + row * spread_stride(codes) + 4 * quad) =
        load_quad(codes, start + row, quad);
  }
}

}  // namespace semicon_fast::cuda
