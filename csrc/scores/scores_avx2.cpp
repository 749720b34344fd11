// AVX2: 32 codes a register, two look-ups (VPSHUFB) for each byte of a code.
#include <cstdint>

#include "scores/score_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "common/target.h"

namespace semicon_fast {
namespace {

bool supported() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2");
}

SEMICON_FAST_TARGET_BEGIN("avx2")

struct Simd {
  using Vec = __m256i;
  static constexpr int kCodes = 32;

  static Vec zero() { return _mm256_setzero_si256(); }
  static Vec load(const uint8_t* from) {
    return _mm256_loadu_si256(reinterpret_cast<const Vec*>(from));
  }
  static Vec table(const uint8_t* from) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  }
  static Vec low(Vec x) { return _mm256_and_si256(x, _mm256_set1_epi8(15)); }
  static Vec high(Vec x) { return low(_mm256_srli_epi16(x, 4)); }
  static Vec look_up(Vec table, Vec x) { return _mm256_shuffle_epi8(table, x); }
  static Vec add8(Vec a, Vec b) { return _mm256_add_epi8(a, b); }
  static Vec saturated8(Vec a, Vec b) { return _mm256_adds_epu8(a, b); }
  static Vec add16(Vec a, Vec b) { return _mm256_add_epi16(a, b); }
  static Vec upper(Vec x) { return _mm256_srli_epi16(x, 8); }
  static uint64_t at_most8(Vec sums, uint8_t limit) {
    const Vec most = _mm256_set1_epi8(static_cast<int8_t>(limit));
    const Vec found = _mm256_cmpeq_epi8(_mm256_min_epu8(sums, most), sums);
    return static_cast<uint32_t>(_mm256_movemask_epi8(found));
  }
  static uint64_t at_most16(Vec even, Vec odd, uint16_t limit) {
    const Vec most = _mm256_set1_epi16(static_cast<int16_t>(limit));
    even = _mm256_sub_epi16(even, _mm256_slli_epi16(odd, 8));
    even = _mm256_cmpeq_epi16(_mm256_min_epu16(even, most), even);
    odd = _mm256_cmpeq_epi16(_mm256_min_epu16(odd, most), odd);
    const Vec found = _mm256_blendv_epi8(odd, even, _mm256_set1_epi16(0xff));
    return static_cast<uint32_t>(_mm256_movemask_epi8(found));
  }
};

#include "scores/score_loops.h"

SEMICON_FAST_TARGET_END

}  // namespace

const ScoreKernel kScoresAvx2 = {"avx2", supported, find};

}  // namespace semicon_fast
#endif
