// One 64-bit population count per word: POPCNT on x86-64, the compiler's builtin elsewhere.
// Per pair and word: 1 xor, 1 popcnt, 1 add or min; POPCNT throughput is 1 per cycle on Intel, 3 or
// 4 on Zen.
#include <cstdint>
#include <cstring>

#include "hamming/isa/kernels.h"
#include "hamming/isa/pack.h"
#include "common/target.h"

namespace semicon_fast {
namespace {

bool supported() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("popcnt") != 0;
#else
  return true;
#endif
}

#if defined(__x86_64__)
SEMICON_FAST_TARGET_BEGIN("popcnt")
#endif

struct Simd {
  using Vec = uint64_t;
  static constexpr int kVectors = 8;
  static constexpr int64_t kPartialWords = 64;
  static constexpr int kRegisters = 16;
  static constexpr int kShortestLane = 8;

  static Vec load(const uint8_t* from) {
    uint64_t word;
    std::memcpy(&word, from, sizeof word);
    return word;
  }
  static Vec broadcast(uint64_t word) { return word; }
  static Vec xored(Vec a, Vec b) { return a ^ b; }
  static Vec add(Vec a, Vec b) { return a + b; }
  static Vec add_lanes(Vec a, Vec b) { return a + b; }
  static Vec least(Vec a, Vec b) { return a < b ? a : b; }
  template <class Lane>
  static Vec partial(Vec x) {
    return static_cast<uint64_t>(__builtin_popcountll(x));
  }
  template <class Lane>
  static Vec lanes(Vec count) {
    return count;
  }
  template <class Lane>
  static Vec fill(int32_t n) {
    return static_cast<uint64_t>(n);
  }
  template <class Lane>
  static int any_below(Vec count, Vec limit) {
    return count < limit;
  }
  template <class Lane>
  static uint64_t mask_below(Vec count, Vec limit) {
    return count < limit;
  }
  template <class Lane>
  static void store(Vec count, uint16_t* out) {
    *out = static_cast<uint16_t>(count);
  }
};

#include "hamming/isa/tile_kernels.h"

#if defined(__x86_64__)
SEMICON_FAST_TARGET_END
#endif

}  // namespace

const Isa kScalar = {"scalar", supported, Simd::kShortestLane, pack_scalar, kernel};

}  // namespace semicon_fast
