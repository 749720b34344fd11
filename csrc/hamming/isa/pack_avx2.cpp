// Copies codes into lanes 32 bytes at a time; see blocks.h.
#include <cstdint>
#include <cstring>

#include "hamming/isa/pack.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "common/target.h"

namespace semicon_fast {
namespace {

SEMICON_FAST_TARGET_BEGIN("avx2,bmi,bmi2,popcnt")

// Copies contiguous codes of `bytes` bytes into lanes of `lane` bytes: a load of 16 bytes contains
// the codes of half a register, and one shuffle moves each into its lane. Returns the number of
// codes that were copied.
int64_t widen(const uint8_t* from, int64_t bytes, int64_t lane, int64_t count, uint8_t* to) {
  const int64_t half = 16 / lane;
  uint8_t order[16];
  for (int64_t i = 0; i < 16; ++i) {
    const int64_t byte = i % lane;
    order[i] = byte < bytes ? static_cast<uint8_t>(i / lane * bytes + byte) : 0x80;
  }
  const __m256i shuffle =
      _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(order)));
  // A load may extend up to 15 bytes past its codes; it must not extend past the last code.
  int64_t done = 0;
  for (; (count - done - half) * bytes >= 16; done += 2 * half) {
    const uint8_t* code = from + done * bytes;
    const __m256i two = _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(code))),
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(code + half * bytes)), 1);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + done * lane),
                        _mm256_shuffle_epi8(two, shuffle));
  }
  return done;
}

// Copies four words of four codes: a 4 x 4 transpose of 64-bit lanes.
SEMICON_FAST_INLINE void transpose(const uint8_t* codes, int64_t stride, uint8_t* to) {
  __m256i row[4];
  for (int i = 0; i < 4; ++i) {
    row[i] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + i * stride));
  }
  const __m256i even01 = _mm256_unpacklo_epi64(row[0], row[1]);
  const __m256i odd01 = _mm256_unpackhi_epi64(row[0], row[1]);
  const __m256i even23 = _mm256_unpacklo_epi64(row[2], row[3]);
  const __m256i odd23 = _mm256_unpackhi_epi64(row[2], row[3]);
  const __m256i word[4] = {_mm256_permute2x128_si256(even01, even23, 0x20),
                           _mm256_permute2x128_si256(odd01, odd23, 0x20),
                           _mm256_permute2x128_si256(even01, even23, 0x31),
                           _mm256_permute2x128_si256(odd01, odd23, 0x31)};
  for (int i = 0; i < 4; ++i) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i * kGroupBytes), word[i]);
  }
}

// Copies two words of four codes.
SEMICON_FAST_INLINE void transpose_pair(const uint8_t* codes, int64_t stride, uint8_t* to) {
  const auto load = [&](int64_t i) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(codes + i * stride));
  };
  const __m256i even = _mm256_inserti128_si256(_mm256_castsi128_si256(load(0)), load(2), 1);
  const __m256i odd = _mm256_inserti128_si256(_mm256_castsi128_si256(load(1)), load(3), 1);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_unpacklo_epi64(even, odd));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + kGroupBytes),
                      _mm256_unpackhi_epi64(even, odd));
}

// Copies whole groups of 8 codes and an even number of words; returns the number of codes. The
// remaining words are left to the caller.
int64_t spread(const uint8_t* from, int64_t stride, int64_t whole, int64_t words, int64_t count,
               uint8_t* to) {
  int64_t done = 0;
  for (; done + 8 <= count; done += 8) {
    for (int64_t half = 0; half < 8; half += 4) {
      const uint8_t* codes = from + (done + half) * stride;
      uint8_t* lanes = to + done / 8 * words * kGroupBytes + half * 8;
      int64_t word = 0;
      for (; word + 4 <= whole; word += 4) {
        transpose(codes + word * 8, stride, lanes + word * kGroupBytes);
      }
      if (word + 2 <= whole) transpose_pair(codes + word * 8, stride, lanes + word * kGroupBytes);
    }
  }
  return done;
}

SEMICON_FAST_TARGET_END

}  // namespace

void pack_avx2(const Codes& codes, int64_t first, int64_t count, int lane_bytes, uint8_t* lanes) {
  const uint8_t* from = codes.data + first * codes.stride;
  const int64_t words = (codes.bytes + 7) / 8, whole = codes.bytes / 8;
  int64_t done = 0;
  if (words == 1) {
    if (codes.stride == codes.bytes && codes.bytes < lane_bytes) {
      done = widen(from, codes.bytes, lane_bytes, count, lanes);
    }
    const Codes rest{from + done * codes.stride, count - done, codes.bytes, codes.stride};
    return pack_scalar(rest, 0, rest.count, lane_bytes, lanes + done * lane_bytes);
  }
  done = spread(from, codes.stride, whole, words, count, lanes);
  pack_words(from, codes.stride, codes.bytes, whole & ~int64_t{1}, done, lanes);
  pack_words(from + done * codes.stride, codes.stride, codes.bytes, 0, count - done,
             lanes + done * words * 8);
}

}  // namespace semicon_fast
#endif
