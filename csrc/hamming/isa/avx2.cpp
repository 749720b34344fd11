// AVX2: look-ups in tables of 16 bytes (VPSHUFB).
// In lanes, two a byte count its bits. Per 32 bytes: 1 xor, 2 and, 1 shift, 2 shuffles, 1 add, and 1
// sum of bytes per code regardless of its number of words: some 9 operations for 4 codes of 64 bits.
// In planes, one for four bits of 32 codes gives their differences: 1 shuffle and 1 add, some 32
// operations for 32 codes of 64 bits.
#include <cmath>
#include <cstdint>
#include <cstring>

#include "hamming/isa/kernels.h"
#include "hamming/isa/pack.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "common/target.h"

namespace semicon_fast {
namespace {

bool supported() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") &&
         __builtin_cpu_supports("popcnt");
}

SEMICON_FAST_TARGET_BEGIN("avx2,bmi,bmi2,popcnt")

struct Simd {
  using Vec = __m256i;
  static constexpr int kVectors = 2;
  static constexpr int64_t kPartialWords = 31;  // byte counters: 31 * 8 = 248 bits
  static constexpr int kRegisters = 16;
  static constexpr int kShortestLane = 2;

  static Vec load(const uint8_t* from) {
    return _mm256_loadu_si256(reinterpret_cast<const Vec*>(from));
  }
  static Vec broadcast(uint64_t word) { return _mm256_set1_epi64x(static_cast<int64_t>(word)); }
  static Vec xored(Vec a, Vec b) { return _mm256_xor_si256(a, b); }
  static Vec add(Vec a_u8x32, Vec b_u8x32) { return _mm256_add_epi8(a_u8x32, b_u8x32); }
  static Vec add_lanes(Vec a_u64x4, Vec b_u64x4) { return _mm256_add_epi64(a_u64x4, b_u64x4); }
  // Counts are below 2^16, so the minimum of a lane is the minimum of its lowest 16 bits.
  static Vec least(Vec a_u16x16, Vec b_u16x16) { return _mm256_min_epu16(a_u16x16, b_u16x16); }

  static Vec zero() { return _mm256_setzero_si256(); }
  static Vec table(const uint8_t* from) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  }
  static Vec add_saturated(Vec a, Vec b) { return _mm256_adds_epu8(a, b); }
  static Vec look_up(Vec table, Vec values) { return _mm256_shuffle_epi8(table, values); }
  static Vec least_byte(Vec a, Vec b) { return _mm256_min_epu8(a, b); }
  static Vec fill_bytes(int n) { return _mm256_set1_epi8(static_cast<char>(n)); }
  static uint64_t byte_mask_up_to(Vec counts, Vec most) {
    const Vec found = _mm256_cmpeq_epi8(_mm256_min_epu8(counts, most), counts);
    return static_cast<uint32_t>(_mm256_movemask_epi8(found));
  }
  static bool any_byte_up_to(Vec counts, Vec most) { return byte_mask_up_to(counts, most) != 0; }
  static void widen(Vec counts, uint16_t* to) {
    auto* const out = reinterpret_cast<Vec*>(to);
    _mm256_storeu_si256(out, _mm256_cvtepu8_epi16(_mm256_castsi256_si128(counts)));
    _mm256_storeu_si256(out + 1, _mm256_cvtepu8_epi16(_mm256_extracti128_si256(counts, 1)));
  }
  static void widen_add(Vec counts, uint16_t* to) {
    auto* const out = reinterpret_cast<Vec*>(to);
    const Vec low = _mm256_cvtepu8_epi16(_mm256_castsi256_si128(counts));
    const Vec high = _mm256_cvtepu8_epi16(_mm256_extracti128_si256(counts, 1));
    _mm256_storeu_si256(out, _mm256_add_epi16(_mm256_loadu_si256(out), low));
    _mm256_storeu_si256(out + 1, _mm256_add_epi16(_mm256_loadu_si256(out + 1), high));
  }

  template <class Lane>
  static Vec partial(Vec x_u8x32) {
    const Vec table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,  //
                                       0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    const Vec nibble = _mm256_set1_epi8(15);
    const Vec low = _mm256_and_si256(x_u8x32, nibble);
    const Vec high = _mm256_and_si256(_mm256_srli_epi16(x_u8x32, 4), nibble);
    return _mm256_add_epi8(_mm256_shuffle_epi8(table, low), _mm256_shuffle_epi8(table, high));
  }
  template <class Lane>
  static Vec lanes(Vec counts_u8x32) {
    if constexpr (sizeof(Lane) == 8) return _mm256_sad_epu8(counts_u8x32, _mm256_setzero_si256());
    const Vec counts_u16x16 = _mm256_maddubs_epi16(counts_u8x32, _mm256_set1_epi8(1));
    if constexpr (sizeof(Lane) == 2) return counts_u16x16;
    return _mm256_madd_epi16(counts_u16x16, _mm256_set1_epi16(1));
  }
  template <class Lane>
  static Vec fill(int32_t n) {
    if constexpr (sizeof(Lane) == 8) return _mm256_set1_epi64x(n);
    if constexpr (sizeof(Lane) == 4) return _mm256_set1_epi32(n);
    return _mm256_set1_epi16(static_cast<int16_t>(n));
  }
  // Signed comparisons suffice: counts and limits are small.
  template <class Lane>
  static Vec below(Vec counts, Vec limit) {
    if constexpr (sizeof(Lane) == 8) return _mm256_cmpgt_epi64(limit, counts);
    if constexpr (sizeof(Lane) == 4) return _mm256_cmpgt_epi32(limit, counts);
    return _mm256_cmpgt_epi16(limit, counts);
  }
  template <class Lane>
  static int any_below(Vec counts, Vec limit) {
    const Vec found = below<Lane>(counts, limit);
    return !_mm256_testz_si256(found, found);
  }
  template <class Lane>
  static uint64_t mask_below(Vec counts, Vec limit) {
    const Vec found = below<Lane>(counts, limit);
    if constexpr (sizeof(Lane) == 8) {
      return static_cast<uint32_t>(_mm256_movemask_pd(_mm256_castsi256_pd(found)));
    }
    if constexpr (sizeof(Lane) == 4) {
      return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(found)));
    }
    const __m128i low = _mm256_castsi256_si128(found), high = _mm256_extracti128_si256(found, 1);
    return static_cast<uint32_t>(_mm_movemask_epi8(_mm_packs_epi16(low, high)));
  }
  template <class Lane>
  static void store(Vec counts, uint16_t* out) {
    if constexpr (sizeof(Lane) == 2) {
      _mm256_storeu_si256(reinterpret_cast<Vec*>(out), counts);
      return;
    }
    const __m128i low = _mm256_castsi256_si128(counts), high = _mm256_extracti128_si256(counts, 1);
    const __m128i counts_u16x8 = _mm_packus_epi32(low, high);
    if constexpr (sizeof(Lane) == 4) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out), counts_u16x8);
    } else {
      // The odd elements are the upper halves of 64-bit lanes, all zero.
      _mm_storel_epi64(reinterpret_cast<__m128i*>(out),
                       _mm_packus_epi32(counts_u16x8, counts_u16x8));
    }
  }
};

#include "hamming/isa/tile_kernels.h"

#include "hamming/isa/plane_kernels.h"

SEMICON_FAST_TARGET_END

}  // namespace

// Arranging a block as planes costs as much as the distances to some five queries.
const Isa kAvx2 = {"avx2", supported,        Simd::kShortestLane, pack_avx2, kernel,
                   12,     pack_planes_avx2, plane_kernel};

}  // namespace semicon_fast
#endif
