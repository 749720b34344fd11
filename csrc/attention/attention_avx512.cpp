// AVX-512: tiles of 6 x 4 vectors, that is, 24 sums, 4 columns and a value in 32 registers.
#include "attention/kernels.h"
#include "hamming/isa/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "common/target.h"

namespace semicon_fast {
namespace {

SEMICON_FAST_TARGET_BEGIN("avx512f,avx512dq,avx512vl,avx2,fma")

struct Simd {
  using Vec = __m512;
  static constexpr int64_t kWidth = 16;
  static constexpr int kVectors = 4;

  static Vec load(const float* from) { return _mm512_loadu_ps(from); }
  static void store(float* to, Vec x) { _mm512_storeu_ps(to, x); }
  static Vec fill(float x) { return _mm512_set1_ps(x); }
  static Vec add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
  static Vec subtract(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
  static Vec mul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
  static Vec divide(Vec a, Vec b) { return _mm512_div_ps(a, b); }
  static Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
  static Vec max(Vec a, Vec b) { return _mm512_max_ps(a, b); }
  static Vec sqrt(Vec x) { return _mm512_sqrt_ps(x); }
  static Vec abs(Vec x) { return _mm512_abs_ps(x); }
  static Vec round(Vec x) { return _mm512_roundscale_ps(x, 8); }
  static Vec times_power_of_two(Vec x, Vec n) { return _mm512_scalef_ps(x, n); }
  static Vec with_sign(Vec x, Vec of) {
    return _mm512_or_ps(x, _mm512_and_ps(of, _mm512_set1_ps(-0.0f)));
  }
  static Vec zero_where_zero(Vec a, Vec x) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, _mm512_setzero_ps(), _CMP_NEQ_UQ), x);
  }
};

#include "attention/loops.h"

SEMICON_FAST_TARGET_END

}  // namespace

const AttentionKernels* attention_avx512() {
  return kAvx512.supported() && __builtin_cpu_supports("fma") ? &kKernels : nullptr;
}

}  // namespace semicon_fast
#endif
