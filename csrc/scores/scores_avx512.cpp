// AVX-512: 64 codes a register; otherwise as AVX2.
#include <cstdint>

#include "scores/score_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "common/target.h"

namespace semicon_fast {
namespace {

bool supported() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
}

SEMICON_FAST_TARGET_BEGIN("avx512f,avx512bw")

struct Simd {
  using Vec = __m512i;
  static constexpr int kCodes = 64;

  static Vec zero() { return _mm512_setzero_si512(); }
  static Vec load(const uint8_t* from) { return _mm512_loadu_si512(from); }
  static Vec table(const uint8_t* from) {
    return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  }
  static Vec low(Vec x) { return _mm512_and_si512(x, _mm512_set1_epi8(15)); }
  static Vec high(Vec x) { return low(_mm512_srli_epi16(x, 4)); }
  static Vec look_up(Vec table, Vec x) { return _mm512_shuffle_epi8(table, x); }
  static Vec add8(Vec a, Vec b) { return _mm512_add_epi8(a, b); }
  static Vec saturated8(Vec a, Vec b) { return _mm512_adds_epu8(a, b); }
  static Vec add16(Vec a, Vec b) { return _mm512_add_epi16(a, b); }
  static Vec upper(Vec x) { return _mm512_srli_epi16(x, 8); }
  static uint64_t at_most8(Vec sums, uint8_t limit) {
    return _mm512_cmple_epu8_mask(sums, _mm512_set1_epi8(static_cast<int8_t>(limit)));
  }
  static uint64_t at_most16(Vec even, Vec odd, uint16_t limit) {
    const Vec most = _mm512_set1_epi16(static_cast<int16_t>(limit));
    even = _mm512_sub_epi16(even, _mm512_slli_epi16(odd, 8));
    even = _mm512_movm_epi16(_mm512_cmple_epu16_mask(even, most));
    odd = _mm512_movm_epi16(_mm512_cmple_epu16_mask(odd, most));
    const Vec found = _mm512_mask_blend_epi8(0x5555555555555555u, odd, even);
    return _mm512_movepi8_mask(found);
  }
};

#include "scores/score_loops.h"

SEMICON_FAST_TARGET_END

}  // namespace

const ScoreKernel kScoresAvx512 = {"avx512", supported, find};

}  // namespace semicon_fast
#endif
