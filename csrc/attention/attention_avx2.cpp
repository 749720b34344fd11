// AVX2 and FMA: tiles of 6 x 2 vectors, that is, 12 sums, 2 columns and a value in 16 registers.
#include "attention/kernels.h"
#include "hamming/isa/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "common/target.h"

namespace semicon_fast {
namespace {

SEMICON_FAST_TARGET_BEGIN("avx2,fma")

struct Simd {
  using Vec = __m256;
  static constexpr int64_t kWidth = 8;
  static constexpr int kVectors = 2;

  static Vec load(const float* from) { return _mm256_loadu_ps(from); }
  static void store(float* to, Vec x) { _mm256_storeu_ps(to, x); }
  static Vec fill(float x) { return _mm256_set1_ps(x); }
  static Vec add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
  static Vec subtract(Vec a, Vec b) { return _mm256_sub_ps(a, b); }
  static Vec mul(Vec a, Vec b) { return _mm256_mul_ps(a, b); }
  static Vec divide(Vec a, Vec b) { return _mm256_div_ps(a, b); }
  static Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
  static Vec max(Vec a, Vec b) { return _mm256_max_ps(a, b); }
  static Vec sqrt(Vec x) { return _mm256_sqrt_ps(x); }
  static Vec abs(Vec x) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x); }
  static Vec round(Vec x) { return _mm256_round_ps(x, 8); }
  // n > -127, so that the exponent does not overflow its field.
  static Vec times_power_of_two(Vec x, Vec n) {
    const __m256i shifted = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), shifted));
  }
  static Vec with_sign(Vec x, Vec of) {
    return _mm256_or_ps(x, _mm256_and_ps(of, _mm256_set1_ps(-0.0f)));
  }
  static Vec zero_where_zero(Vec a, Vec x) {
    return _mm256_and_ps(_mm256_cmp_ps(a, _mm256_setzero_ps(), _CMP_NEQ_UQ), x);
  }
};

#include "attention/loops.h"

SEMICON_FAST_TARGET_END

}  // namespace

const AttentionKernels* attention_avx2() {
  return kAvx2.supported() && __builtin_cpu_supports("fma") ? &kKernels : nullptr;
}

}  // namespace semicon_fast
#endif
