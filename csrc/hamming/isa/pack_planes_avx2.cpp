// Copies codes into planes: transposes the bytes of 32 codes, then takes their halves apart.
#include <cstdint>
#include <cstring>

#include "hamming/isa/pack.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "common/target.h"

namespace semicon_fast {
namespace {

constexpr int64_t kHalf = 32;  // codes, one a byte of a register

SEMICON_FAST_TARGET_BEGIN("avx2,bmi,bmi2,popcnt")

// One word of 32 codes -> its first `bytes` bytes as planes, kStep bytes apart. Codes 8 i to 8 i + 7
// are at from + i * stride.
SEMICON_FAST_INLINE void transpose(const uint8_t* from, int64_t stride, int64_t bytes,
                                   uint8_t* planes) {
  // row[i]: codes 2 i and 2 i + 1 in the lower half, 16 further on in the upper.
  const __m256i pairs = _mm256_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15,  //
                                         0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
  __m256i row[8], word[8], byte[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    const auto* const two =
        reinterpret_cast<const __m128i*>(from + i / 4 * stride + i % 4 * 16);
    const auto* const far = reinterpret_cast<const __m128i*>(
        reinterpret_cast<const uint8_t*>(two) + 2 * stride);
    row[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(two)),
                                     _mm_loadu_si128(far), 1);
    row[i] = _mm256_shuffle_epi8(row[i], pairs);
  }
  // 16-bit elements are byte b of two codes; an 8 x 8 transpose of them in both halves.
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    word[2 * i] = _mm256_unpacklo_epi16(row[2 * i], row[2 * i + 1]);
    word[2 * i + 1] = _mm256_unpackhi_epi16(row[2 * i], row[2 * i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      row[4 * i + 2 * j] = _mm256_unpacklo_epi32(word[4 * i + j], word[4 * i + 2 + j]);
      row[4 * i + 2 * j + 1] = _mm256_unpackhi_epi32(word[4 * i + j], word[4 * i + 2 + j]);
    }
  }
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    byte[2 * j] = _mm256_unpacklo_epi64(row[j], row[4 + j]);
    byte[2 * j + 1] = _mm256_unpackhi_epi64(row[j], row[4 + j]);
  }
  const __m256i nibble = _mm256_set1_epi8(15);
#pragma GCC unroll 8
  for (int b = 0; b < 8; ++b) {
    if (b >= bytes) break;
    auto* const out = planes + 2 * b * kStep;
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_and_si256(byte[b], nibble));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + kStep),
                        _mm256_and_si256(_mm256_srli_epi16(byte[b], 4), nibble));
  }
}

// A step of codes in lanes of 8 bytes -> planes.
void transpose_step(const uint8_t* from, int64_t bytes, uint8_t* planes) {
  const int64_t words = (bytes + 7) / 8;
  for (int64_t word = 0; word < words; ++word) {
    for (int64_t half = 0; half < kStep; half += kHalf) {
      transpose(from + (half / 8 * words + word) * kGroupBytes, words * kGroupBytes,
                bytes - word * 8, planes + word * 16 * kStep + half);
    }
  }
}

SEMICON_FAST_TARGET_END

}  // namespace

void pack_planes_avx2(const Codes& codes, int64_t first, int64_t count, uint8_t* planes) {
  const int64_t bytes = codes.bytes, words = (bytes + 7) / 8;
  const bool direct = bytes == 8 && codes.stride == 8;
  uint8_t lanes[kStep * kMaxBytes];
  for (int64_t done = 0; done < count; done += kStep, planes += 2 * bytes * kStep) {
    const uint8_t* from = codes.data + (first + done) * 8;
    if (!direct || count - done < kStep) {
      const int64_t some = count - done < kStep ? count - done : kStep;
      if (some < kStep) std::memset(lanes, 0, static_cast<size_t>(kStep * words * 8));
      pack_avx2(codes, first + done, some, 8, lanes);
      from = lanes;
    }
    transpose_step(from, bytes, planes);
  }
}

}  // namespace semicon_fast
#endif
