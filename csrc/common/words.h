// Loads codes as 64-bit words without reading beyond their last byte.
#pragma once

#include <cstdint>
#include <cstring>

namespace semicon_fast {

// Loads 1 to 8 bytes as one word, by two reads of fixed size that may overlap.
inline uint64_t load_word(const uint8_t* from, int64_t bytes) {
  const auto ends = [&](auto part) {
    uint64_t low = 0, high = 0;
    std::memcpy(&low, from, sizeof part);
    std::memcpy(&high, from + bytes - sizeof part, sizeof part);
    return low | high << (8 * (bytes - static_cast<int64_t>(sizeof part)));
  };
  if (bytes == 8) {
    uint64_t word;
    std::memcpy(&word, from, 8);
    return word;
  }
  if (bytes >= 4) return ends(uint32_t{});
  if (bytes >= 2) return ends(uint16_t{});
  return *from;
}

}  // namespace semicon_fast
