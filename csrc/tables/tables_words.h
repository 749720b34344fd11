// Codes as 64-bit words, and the differences of their pieces.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/words.h"

namespace semicon_fast {

inline int64_t word_count(int64_t bytes) { return (bytes + 7) / 8; }

// Writes word_count(bytes) words; those beyond the code are 0.
inline void load_words(const uint8_t* code, int64_t bytes, uint64_t* words) {
  for (int64_t at = 0; at < bytes; at += 8) {
    words[at / 8] = load_word(code + at, std::min<int64_t>(8, bytes - at));
  }
}

// In how many of the bits first..first + bits - 1 (0 to 64 of them) two codes differ.
inline int64_t piece_difference(const uint64_t* a, const uint64_t* b, int64_t first, int64_t bits) {
  if (bits == 0) return 0;
  const int64_t w = first / 64, shift = first % 64;
  uint64_t window = (a[w] ^ b[w]) >> shift;
  if (shift + bits > 64) window |= (a[w + 1] ^ b[w + 1]) << (64 - shift);
  if (bits < 64) window &= (uint64_t{1} << bits) - 1;
  return __builtin_popcountll(window);
}

}  // namespace semicon_fast
