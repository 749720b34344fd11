// AVX-512 without VPOPCNTDQ (Skylake-X to Cascade Lake): the table look-ups of AVX2, twice as wide.
#include <cstdint>

#include "hamming/isa/kernels.h"
#include "hamming/isa/pack.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "common/target.h"

namespace semicon_fast {
namespace {

bool supported() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("bmi2");
}

SEMICON_FAST_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl,bmi,bmi2,popcnt")

#include "hamming/isa/avx512_lanes.h"

struct Simd : Lanes512 {
  static constexpr int64_t kPartialWords = 31;  // byte counters: 31 * 8 = 248 bits

  static Vec add(Vec a_u8x64, Vec b_u8x64) { return _mm512_add_epi8(a_u8x64, b_u8x64); }
  template <class Lane>
  static Vec partial(Vec x_u8x64) {
    const Vec table = _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    const Vec nibble = _mm512_set1_epi8(15);
    const Vec low = _mm512_and_si512(x_u8x64, nibble);
    const Vec high = _mm512_and_si512(_mm512_srli_epi16(x_u8x64, 4), nibble);
    return _mm512_add_epi8(_mm512_shuffle_epi8(table, low), _mm512_shuffle_epi8(table, high));
  }
  template <class Lane>
  static Vec lanes(Vec counts_u8x64) {
    if constexpr (sizeof(Lane) == 8) return _mm512_sad_epu8(counts_u8x64, _mm512_setzero_si512());
    const Vec counts_u16x32 = _mm512_maddubs_epi16(counts_u8x64, _mm512_set1_epi8(1));
    if constexpr (sizeof(Lane) == 2) return counts_u16x32;
    return _mm512_madd_epi16(counts_u16x32, _mm512_set1_epi16(1));
  }
};

#include "hamming/isa/tile_kernels.h"

SEMICON_FAST_TARGET_END

}  // namespace

const Isa kAvx512 = {"avx512", supported, Simd::kShortestLane, pack_avx2, kernel};

}  // namespace semicon_fast
#endif
