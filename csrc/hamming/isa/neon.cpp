// NEON, available on every 64-bit Arm: CNT counts the bits of each of 16 bytes in one operation.
// Per 16 bytes: 1 xor, 1 count, 1 add, and 3 pairwise sums per code regardless of its length.
#include <cstdint>

#include "hamming/isa/kernels.h"
#include "hamming/isa/pack.h"

#if defined(__aarch64__)
#include <arm_neon.h>

#include "common/target.h"

namespace semicon_fast {
namespace {

bool supported() { return true; }

struct Simd {
  using Vec = uint8x16_t;
  static constexpr int kVectors = 4;
  static constexpr int64_t kPartialWords = 31;  // byte counters: 31 * 8 = 248 bits
  static constexpr int kRegisters = 32;
  static constexpr int kShortestLane = 2;

  static Vec load(const uint8_t* from) { return vld1q_u8(from); }
  static Vec broadcast(uint64_t word) { return vreinterpretq_u8_u64(vdupq_n_u64(word)); }
  static Vec xored(Vec a, Vec b) { return veorq_u8(a, b); }
  static Vec add(Vec a_u8x16, Vec b_u8x16) { return vaddq_u8(a_u8x16, b_u8x16); }
  static Vec add_lanes(Vec a, Vec b) {
    return vreinterpretq_u8_u64(vaddq_u64(vreinterpretq_u64_u8(a), vreinterpretq_u64_u8(b)));
  }
  // Counts are below 2^16, so the minimum of a lane is the minimum of its lowest 16 bits.
  static Vec least(Vec a, Vec b) {
    return vreinterpretq_u8_u16(vminq_u16(vreinterpretq_u16_u8(a), vreinterpretq_u16_u8(b)));
  }
  template <class Lane>
  static Vec partial(Vec x_u8x16) {
    return vcntq_u8(x_u8x16);
  }
  template <class Lane>
  static Vec lanes(Vec counts_u8x16) {
    const uint16x8_t counts_u16x8 = vpaddlq_u8(counts_u8x16);
    if constexpr (sizeof(Lane) == 2) return vreinterpretq_u8_u16(counts_u16x8);
    const uint32x4_t counts_u32x4 = vpaddlq_u16(counts_u16x8);
    if constexpr (sizeof(Lane) == 4) return vreinterpretq_u8_u32(counts_u32x4);
    return vreinterpretq_u8_u64(vpaddlq_u32(counts_u32x4));
  }
  template <class Lane>
  static Vec fill(int32_t n) {
    if constexpr (sizeof(Lane) == 8) return vreinterpretq_u8_u64(vdupq_n_u64(n));
    if constexpr (sizeof(Lane) == 4) return vreinterpretq_u8_u32(vdupq_n_u32(n));
    return vreinterpretq_u8_u16(vdupq_n_u16(static_cast<uint16_t>(n)));
  }
  // A 64-bit half of the register becomes nonzero if it holds a lane below the limit.
  template <class Lane>
  static uint64x2_t below(Vec counts, Vec limit) {
    if constexpr (sizeof(Lane) == 8) {
      return vcltq_u64(vreinterpretq_u64_u8(counts), vreinterpretq_u64_u8(limit));
    } else if constexpr (sizeof(Lane) == 4) {
      return vreinterpretq_u64_u32(
          vcltq_u32(vreinterpretq_u32_u8(counts), vreinterpretq_u32_u8(limit)));
    } else {
      return vreinterpretq_u64_u16(
          vcltq_u16(vreinterpretq_u16_u8(counts), vreinterpretq_u16_u8(limit)));
    }
  }
  template <class Lane>
  static int any_below(Vec counts, Vec limit) {
    return vmaxvq_u32(vreinterpretq_u32_u64(below<Lane>(counts, limit))) != 0;
  }
  template <class Lane>
  static uint64_t mask_below(Vec counts, Vec limit) {
    Lane found[16 / sizeof(Lane)];
    vst1q_u8(reinterpret_cast<uint8_t*>(found), vreinterpretq_u8_u64(below<Lane>(counts, limit)));
    uint64_t mask = 0;
    for (unsigned i = 0; i < 16 / sizeof(Lane); ++i) mask |= uint64_t{found[i] != 0} << i;
    return mask;
  }
  template <class Lane>
  static void store(Vec counts, uint16_t* out) {
    Lane lanes[16 / sizeof(Lane)];
    vst1q_u8(reinterpret_cast<uint8_t*>(lanes), counts);
    for (unsigned i = 0; i < 16 / sizeof(Lane); ++i) out[i] = static_cast<uint16_t>(lanes[i]);
  }
};

#include "hamming/isa/tile_kernels.h"

}  // namespace

const Isa kNeon = {"neon", supported, Simd::kShortestLane, pack_scalar, kernel};

}  // namespace semicon_fast
#endif
