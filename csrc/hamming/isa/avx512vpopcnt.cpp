// AVX-512 with VPOPCNTDQ and BITALG (Ice Lake, Sapphire Rapids, Zen 4 and later).
// Per 64 bytes: 1 xor, 1 population count, 1 add or minimum, on two 512-bit ports: 1.5 cycles for 8
// pairs of 64 bits, 16 of 32 or 32 of 16. VPOPCNT has a throughput of 1 per cycle and is not the
// bottleneck.
#include <cstdint>

#include "hamming/isa/kernels.h"
#include "hamming/isa/pack.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "common/target.h"

namespace semicon_fast {
namespace {

bool supported() {
  return kAvx512.supported() && __builtin_cpu_supports("avx512vpopcntdq") &&
         __builtin_cpu_supports("avx512bitalg");
}

SEMICON_FAST_TARGET_BEGIN(
    "avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq,avx512bitalg,bmi,bmi2,popcnt")

#include "hamming/isa/avx512_lanes.h"

struct Simd : Lanes512 {
  static constexpr int64_t kPartialWords = 64;  // the counters are whole lanes

  static Vec add(Vec a_u64x8, Vec b_u64x8) { return _mm512_add_epi64(a_u64x8, b_u64x8); }
  template <class Lane>
  static Vec partial(Vec x) {
    if constexpr (sizeof(Lane) == 8) return _mm512_popcnt_epi64(x);
    if constexpr (sizeof(Lane) == 4) return _mm512_popcnt_epi32(x);
    return _mm512_popcnt_epi16(x);
  }
  template <class Lane>
  static Vec lanes(Vec counts) {
    return counts;
  }
};

#include "hamming/isa/tile_kernels.h"

SEMICON_FAST_TARGET_END

}  // namespace

const Isa kAvx512Vpopcnt = {"avx512vpopcnt", supported, Simd::kShortestLane, pack_avx2, kernel};

}  // namespace semicon_fast
#endif
