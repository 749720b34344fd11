// Plain loops over 16 bytes, for every machine; and the choice between the kernels.
#include <cstdint>
#include <cstring>

#include "common/target.h"
#include "common/words.h"
#include "hamming/isa/kernels.h"
#include "scores/score_kernels.h"
#if defined(__x86_64__)
#include <emmintrin.h>
#endif

namespace semicon_fast {
namespace {

bool supported() { return true; }

struct Simd {
  static constexpr int kCodes = 16;
  struct Vec {
    uint8_t b[kCodes];
  };
  struct Pairs {
    uint16_t w[kCodes / 2];
  };

  static Pairs wide(Vec x) {
    Pairs result;
    std::memcpy(&result, &x, sizeof x);
    return result;
  }
  static Vec narrow(Pairs x) {
    Vec result;
    std::memcpy(&result, &x, sizeof x);
    return result;
  }
  template <class Map>
  static Vec bytes(const Map& map) {
    Vec result;
    for (int i = 0; i < kCodes; ++i) result.b[i] = static_cast<uint8_t>(map(i));
    return result;
  }
  static Vec zero() { return Vec{}; }
  static Vec load(const uint8_t* from) {
    return bytes([&](int i) { return from[i]; });
  }
  static Vec table(const uint8_t* from) { return load(from); }
  static Vec low(Vec x) {
    return bytes([&](int i) { return x.b[i] & 15; });
  }
  static Vec high(Vec x) {
    return bytes([&](int i) { return x.b[i] >> 4; });
  }
  static Vec look_up(Vec table, Vec x) {
    return bytes([&](int i) { return table.b[x.b[i]]; });
  }
  static Vec add8(Vec a, Vec b) {
    return bytes([&](int i) { return a.b[i] + b.b[i]; });
  }
  static Vec saturated8(Vec a, Vec b) {
    return bytes([&](int i) {
      const int sum = a.b[i] + b.b[i];
      return sum < 255 ? sum : 255;
    });
  }
  static Vec add16(Vec a, Vec b) {
    Pairs sum = wide(a);
    const Pairs other = wide(b);
    for (int i = 0; i < kCodes / 2; ++i) sum.w[i] = static_cast<uint16_t>(sum.w[i] + other.w[i]);
    return narrow(sum);
  }
  static Vec upper(Vec x) {
    Pairs result = wide(x);
    for (uint16_t& w : result.w) w = static_cast<uint16_t>(w >> 8);
    return narrow(result);
  }
  static uint64_t at_most8(Vec sums, uint8_t limit) {
    uint64_t mask = 0;
    for (int i = 0; i < kCodes; ++i) mask |= uint64_t{sums.b[i] <= limit} << i;
    return mask;
  }
  static uint64_t at_most16(Vec even, Vec odd, uint16_t limit) {
    const Pairs lower = wide(even), higher = wide(odd);
    uint64_t mask = 0;
    for (int i = 0; i < kCodes / 2; ++i) {
      const auto own = static_cast<uint16_t>(lower.w[i] - (higher.w[i] << 8));
      mask |= uint64_t{own <= limit} << (2 * i) | uint64_t{higher.w[i] <= limit} << (2 * i + 1);
    }
    return mask;
  }
};

#include "scores/score_loops.h"

// `bytes` bytes, up to 8, of 16 rows -> columns[b * kStrip + i] is byte b of row i. load(i) copies
// those of row i to a word.
template <class Load>
SEMICON_FAST_INLINE void transpose(const Load& load, int64_t bytes, uint8_t* columns) {
#if defined(__x86_64__)
  // Each stage brings rows that are 8, 4, 2 and 1 apart next to each other, byte by byte.
  __m128i a[8], b[8];
  for (int i = 0; i < 8; ++i) {
    a[i] = _mm_unpacklo_epi8(_mm_cvtsi64_si128(static_cast<int64_t>(load(i))),
                             _mm_cvtsi64_si128(static_cast<int64_t>(load(i + 8))));
  }
  for (int i = 0; i < 4; ++i) {
    b[i] = _mm_unpacklo_epi8(a[i], a[i + 4]);      // bytes 0..3 of rows i, i + 4, i + 8, i + 12
    b[i + 4] = _mm_unpackhi_epi8(a[i], a[i + 4]);  // bytes 4..7
  }
  for (int i = 0; i < 2; ++i) {
    for (int half = 0; half < 8; half += 4) {
      a[half + i] = _mm_unpacklo_epi8(b[half + i], b[half + i + 2]);
      a[half + i + 2] = _mm_unpackhi_epi8(b[half + i], b[half + i + 2]);
    }
  }
  for (int i = 0; i < 8; i += 2) {
    b[i] = _mm_unpacklo_epi8(a[i], a[i + 1]);
    b[i + 1] = _mm_unpackhi_epi8(a[i], a[i + 1]);
  }
  for (int64_t at = 0; at < bytes; ++at) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(columns + at * kStrip), b[at]);
  }
#else
  for (int i = 0; i < 16; ++i) {
    const uint64_t word = load(i);
    for (int64_t at = 0; at < bytes; ++at) {
      columns[at * kStrip + i] = static_cast<uint8_t>(word >> (8 * at));
    }
  }
#endif
}

#if defined(__x86_64__) || defined(_M_X64)
const ScoreKernel* const kAll[] = {&kScoresAvx512, &kScoresAvx2, &kScoresScalar};
#else
const ScoreKernel* const kAll[] = {&kScoresScalar};
#endif

}  // namespace

const ScoreKernel kScoresScalar = {"scalar", supported, find};

const ScoreKernel& score_kernel() {
  const char* const isa = active_isa().name;
  for (const ScoreKernel* kernel : kAll) {
    // "avx512" also goes with the instruction sets that extend it.
    if (std::strncmp(isa, kernel->name, std::strlen(kernel->name)) == 0 && kernel->supported()) {
      return *kernel;
    }
  }
  return kScoresScalar;
}

void score_columns(const Codes& codes, int64_t first, int64_t count, uint8_t* columns) {
  const int64_t whole = (count + kStrip - 1) / kStrip * kStrip;
  for (int64_t at = 0; at < whole; at += 16) {
    uint8_t* const strip = columns + at / kStrip * kStrip * codes.bytes + at % kStrip;
    for (int64_t b = 0; b < codes.bytes; b += 8) {
      const int64_t bytes = codes.bytes - b < 8 ? codes.bytes - b : 8;
      const uint8_t* const from = codes.data + (first + at) * codes.stride + b;
      const int64_t rows = count - at;
      if (bytes == 8 && rows >= 16) {
        const auto load = [&](int i) {
          uint64_t word;
          std::memcpy(&word, from + i * codes.stride, 8);
          return word;
        };
        transpose(load, 8, strip + b * kStrip);
      } else {
        const auto load = [&](int i) {
          return i < rows ? load_word(from + i * codes.stride, bytes) : 0;
        };
        transpose(load, bytes, strip + b * kStrip);
      }
    }
  }
}

}  // namespace semicon_fast
