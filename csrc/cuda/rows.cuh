// Loads codes as 32-bit words, four at a time, at any stride and alignment.
#pragma once

#include <algorithm>
#include <type_traits>

#include "device.cuh"

namespace semicon_fast::cuda {

constexpr int kWarp = 32;

struct Rows {
  const uint8_t* data;
  int64_t count, stride;
  int bytes;
  int quads;  // groups of four words: (bytes + 15) / 16
  int align;  // alignment of every row in bytes: 16, 8, 4 or 1
  const uint8_t *begin, *end;  // memory that may be read: from the first row to the last
};

inline Rows rows_of(const uint8_t* data, int64_t count, int64_t stride, int64_t bytes) {
  const auto bits = reinterpret_cast<uintptr_t>(data) | static_cast<uintptr_t>(stride);
  const int align = bits % 16 == 0 ? 16 : bits % 8 == 0 ? 8 : bits % 4 == 0 ? 4 : 1;
  return {data, count, stride, static_cast<int>(bytes), static_cast<int>((bytes + 15) / 16), align,
          data, data + (count > 0 ? (count - 1) * stride + bytes : 0)};
}

inline Rows rows_of(const Codes& codes) {
  return rows_of(codes.data, codes.count, codes.stride, codes.bytes);
}

inline Rows slice(Rows rows, int64_t first, int64_t count) {
  rows.data += first * rows.stride;
  rows.count = count;
  return rows;
}

// The lowest 8 * left bits; all for left >= 4, none for left <= 0.
__device__ __forceinline__ uint32_t low_bytes(int left) {
  return left >= 4 ? ~0u : left <= 0 ? 0u : (1u << (8 * left)) - 1;
}

__device__ __forceinline__ uint32_t load_bytes(const uint8_t* from, int left) {
  uint32_t word = 0;
#pragma unroll 1
  for (int i = 0; i < 4 && i < left; ++i) word |= uint32_t{from[i]} << (8 * i);
  return word;
}

// The `left` bytes from `from` on, at most 16, as four words: the aligned words in which they lie,
// shifted. These contain bytes of other rows too, so at both ends of the memory bytes are loaded.
__device__ __forceinline__ uint4 load_shifted(const Rows& rows, const uint8_t* from, int left) {
  const int before = static_cast<int>(reinterpret_cast<uintptr_t>(from) & 3);
  const uint8_t* const first = from - before;
  const int span = before + (left < 16 ? left : 16);
  if (first < rows.begin || first + (span + 3) / 4 * 4 > rows.end) {
    return {load_bytes(from, left), load_bytes(from + 4, left - 4), load_bytes(from + 8, left - 8),
            load_bytes(from + 12, left - 12)};
  }
  uint32_t words[5];
#pragma unroll
  for (int i = 0; i < 5; ++i) words[i] = 4 * i < span ? load<uint32_t>(first + 4 * i) : 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    words[i] = __funnelshift_r(words[i], words[i + 1], 8 * before) & low_bytes(left - 4 * i);
  }
  return {words[0], words[1], words[2], words[3]};
}

// Words 4 * quad to 4 * quad + 3 of a code; zeros beyond its end.
__device__ __forceinline__ uint4 load_quad(const Rows& rows, int64_t row, int quad) {
  const uint8_t* const from = rows.data + row * rows.stride + 16 * quad;
  const int left = rows.bytes - 16 * quad;
  if (rows.align == 16 && left >= 16) return load<uint4>(from);
  if (rows.align >= 8 && left == 8) {
    const uint2 half = load<uint2>(from);
    return {half.x, half.y, 0, 0};
  }
  return load_shifted(rows, from, left);
}

__device__ __forceinline__ int differing(const uint4& a, const uint4& b) {
  return __popc(a.x ^ b.x) + __popc(a.y ^ b.y) + __popc(a.z ^ b.z) + __popc(a.w ^ b.w);
}

// A packed code (4 * quads words, zeros beyond its end) to be compared with rows: 2, 4 or 8 words
// in registers, or (kWords = 0) any number of words in memory.
template <int kWords>
struct Query {
  uint32_t words[kWords];

  __device__ __forceinline__ void read(const uint32_t* packed, int) {
#pragma unroll
    for (int i = 0; i < kWords; ++i) words[i] = packed[i];
  }
  __device__ __forceinline__ int distance(const uint4& quad, int first) const {
    int sum = __popc(quad.x ^ words[first]) + __popc(quad.y ^ words[first + 1]);
    if constexpr (kWords > 2) {
      sum += __popc(quad.z ^ words[first + 2]) + __popc(quad.w ^ words[first + 3]);
    }
    return sum;
  }
  __device__ __forceinline__ int distance(const Rows& rows, int64_t row) const {
    int sum = 0;
#pragma unroll
    for (int quad = 0; quad < (kWords + 3) / 4; ++quad) {
      sum += distance(load_quad(rows, row, quad), 4 * quad);
    }
    return sum;
  }
};

template <>
struct Query<0> {
  const uint32_t* words;
  int quads;

  __device__ __forceinline__ void read(const uint32_t* packed, int count) {
    words = packed;
    quads = count;
  }
  __device__ __forceinline__ int distance(const Rows& rows, int64_t row) const {
    int sum = 0;
    if (rows.align == 16 && rows.bytes % 16 == 0) {
      const uint8_t* const from = rows.data + row * rows.stride;
#pragma unroll 4
      for (int quad = 0; quad < quads; ++quad) {
        sum += differing(load<uint4>(from + 16 * quad), load<uint4>(words + 4 * quad));
      }
      return sum;
    }
#pragma unroll 1
    for (int quad = 0; quad < quads; ++quad) {
      sum += differing(load_quad(rows, row, quad), load<uint4>(words + 4 * quad));
    }
    return sum;
  }
};

// Calls f with the number of words to hold in registers as a compile-time constant (0: in memory).
template <class F>
void with_words(int bytes, F&& f) {
  if (bytes <= 8) return f(std::integral_constant<int, 2>{});
  if (bytes <= 16) return f(std::integral_constant<int, 4>{});
  if (bytes <= 32) return f(std::integral_constant<int, 8>{});
  return f(std::integral_constant<int, 0>{});
}

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Number of blocks of `threads` for `items`, at most `most`: kernels use grid-stride loops.
inline unsigned grid_for(int64_t items, int64_t threads, int64_t most = int64_t{1} << 30) {
  return static_cast<unsigned>(std::clamp<int64_t>(ceil_div(items, threads), 1, most));
}

}  // namespace semicon_fast::cuda
