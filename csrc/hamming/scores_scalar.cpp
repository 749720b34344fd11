// Plain loops over 16 bytes, for every machine; and the choice between the kernels.
#include <cstdint>
#include <cstring>

#include "common/target.h"
#include "common/words.h"
#include "hamming/isa/kernels.h"
#include "hamming/score_kernels.h"
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
  struct Wide {
    uint16_t w[kCodes / 2];
  };

  static Wide wide(Vec x) {
    Wide result;
    std::memcpy(&result, &x, sizeof x);
    return result;
  }
  static Vec narrow(Wide x) {
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
  static Vec add16(Vec a, Vec b) {
    Wide sum = wide(a);
    const Wide other = wide(b);
    for (int i = 0; i < kCodes / 2; ++i) sum.w[i] = static_cast<uint16_t>(sum.w[i] + other.w[i]);
    return narrow(sum);
  }
  static Vec upper(Vec x) {
    Wide result = wide(x);
    for (uint16_t& w : result.w) w = static_cast<uint16_t>(w >> 8);
    return narrow(result);
  }
  static uint64_t at_most(Vec even, Vec odd, uint16_t limit) {
    const Wide lower = wide(even), higher = wide(odd);
    uint64_t mask = 0;
    for (int i = 0; i < kCodes / 2; ++i) {
      const auto own = static_cast<uint16_t>(lower.w[i] - (higher.w[i] << 8));
      mask |= uint64_t{own <= limit} << (2 * i) | uint64_t{higher.w[i] <= limit} << (2 * i + 1);
    }
    return mask;
  }
};

#include "hamming/score_loops.h"

// Bytes first..first + wide - 1 (at most 8) of 16 rows from code `row` on: columns[b * kStrip + i]
// is byte b of row i. Rows from `last` on are zero.
void transpose(const Codes& codes, int64_t row, int64_t last, int64_t first, int64_t wide,
               uint8_t* columns) {
#if defined(__x86_64__)
  __m128i r[16], s[16];
  for (int64_t i = 0; i < 16; ++i) {
    const bool real = row + i < last;
    const uint64_t word =
        real ? load_word(codes.data + (row + i) * codes.stride + first, wide) : 0;
    r[i] = _mm_cvtsi64_si128(static_cast<int64_t>(word));
  }
  // Each stage brings rows i and i + half next to each other, byte by byte.
  for (int i = 0; i < 8; ++i) s[i] = _mm_unpacklo_epi8(r[i], r[i + 8]);
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm_unpacklo_epi8(s[i], s[i + 4]);      // bytes 0..3 of rows i, i + 4, i + 8, i + 12
    r[i + 4] = _mm_unpackhi_epi8(s[i], s[i + 4]);  // bytes 4..7
  }
  for (int h = 0; h < 2; ++h) {
    for (int i = 0; i < 2; ++i) {
      s[4 * h + i] = _mm_unpacklo_epi8(r[4 * h + i], r[4 * h + i + 2]);
      s[4 * h + i + 2] = _mm_unpackhi_epi8(r[4 * h + i], r[4 * h + i + 2]);
    }
  }
  for (int h = 0; h < 4; ++h) {
    r[2 * h] = _mm_unpacklo_epi8(s[2 * h], s[2 * h + 1]);
    r[2 * h + 1] = _mm_unpackhi_epi8(s[2 * h], s[2 * h + 1]);
  }
  for (int64_t b = 0; b < wide; ++b) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(columns + b * kStrip), r[b]);
  }
#else
  for (int64_t i = 0; i < 16; ++i) {
    const uint8_t* const code = codes.data + (row + i) * codes.stride + first;
    for (int64_t b = 0; b < wide; ++b) columns[b * kStrip + i] = row + i < last ? code[b] : 0;
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
  for (int64_t at = 0; at < count; at += 16) {
    uint8_t* const strip = columns + at / kStrip * kStrip * codes.bytes + at % kStrip;
    for (int64_t b = 0; b < codes.bytes; b += 8) {
      const int64_t wide = codes.bytes - b < 8 ? codes.bytes - b : 8;
      transpose(codes, first + at, first + count, b, wide, strip + b * kStrip);
    }
  }
  // Whole strips: transpose() fills 16 codes at a time.
  for (int64_t at = (count + 15) / 16 * 16; at % kStrip; at += 16) {
    uint8_t* const strip = columns + at / kStrip * kStrip * codes.bytes + at % kStrip;
    for (int64_t b = 0; b < codes.bytes; ++b) std::memset(strip + b * kStrip, 0, 16);
  }
}

}  // namespace semicon_fast
