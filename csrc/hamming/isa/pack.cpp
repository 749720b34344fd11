#include "hamming/isa/pack.h"

#include <cstring>

namespace semicon_fast {
namespace {

template <class Word>
uint64_t load(const uint8_t* from) {
  Word word;
  std::memcpy(&word, from, sizeof word);
  return word;
}

// Loads a code of 1 to 8 bytes by overlapping loads. Copying it into a word in parts would stall on
// store forwarding, some 15 cycles per code.
template <int Bytes>
uint64_t load_code(const uint8_t* from) {
  if constexpr (Bytes == 1) return from[0];
  if constexpr (Bytes == 2) return load<uint16_t>(from);
  if constexpr (Bytes == 3) return load<uint16_t>(from) | uint64_t{from[2]} << 16;
  if constexpr (Bytes == 4) return load<uint32_t>(from);
  if constexpr (Bytes > 4 && Bytes < 8) {
    return load<uint32_t>(from) | load<uint32_t>(from + Bytes - 4) << (8 * Bytes - 32);
  }
  return load<uint64_t>(from);
}

template <class Lane, int Bytes>
void pack_short(const uint8_t* from, int64_t stride, int64_t count, uint8_t* to) {
  for (int64_t i = 0; i < count; ++i) {
    const auto lane = static_cast<Lane>(load_code<Bytes>(from + i * stride));
    std::memcpy(to + i * static_cast<int64_t>(sizeof lane), &lane, sizeof lane);
  }
}

template <class Lane>
void pack_lanes(const uint8_t* from, const Codes& codes, uint8_t* to, int64_t count) {
  switch (codes.bytes) {
    case 1: return pack_short<Lane, 1>(from, codes.stride, count, to);
    case 2: return pack_short<Lane, 2>(from, codes.stride, count, to);
    case 3: return pack_short<Lane, 3>(from, codes.stride, count, to);
    case 4: return pack_short<Lane, 4>(from, codes.stride, count, to);
    case 5: return pack_short<Lane, 5>(from, codes.stride, count, to);
    case 6: return pack_short<Lane, 6>(from, codes.stride, count, to);
    case 7: return pack_short<Lane, 7>(from, codes.stride, count, to);
    default: return pack_short<Lane, 8>(from, codes.stride, count, to);
  }
}

}  // namespace

void pack_words(const uint8_t* from, int64_t stride, int64_t bytes, int64_t word, int64_t count,
                uint8_t* lanes) {
  const int64_t words = (bytes + 7) / 8, whole = bytes / 8, rest = bytes % 8;
  if (word == words) return;
  for (int64_t i = 0; i < count; ++i) {
    const uint8_t* code = from + i * stride;
    uint8_t* lane = lanes + i / 8 * words * kGroupBytes + i % 8 * 8;
    for (int64_t w = word; w < whole; ++w) std::memcpy(lane + w * kGroupBytes, code + w * 8, 8);
    if (rest) {
      // All codes here have more than 8 bytes, so the load may start within the previous word.
      const uint64_t last = load<uint64_t>(code + bytes - 8) >> (64 - 8 * rest);
      std::memcpy(lane + whole * kGroupBytes, &last, 8);
    }
  }
}

void pack_scalar(const Codes& codes, int64_t first, int64_t count, int lane_bytes, uint8_t* lanes) {
  const uint8_t* from = codes.data + first * codes.stride;
  if (codes.bytes > 8) {
    pack_words(from, codes.stride, codes.bytes, 0, count, lanes);
  } else if (lane_bytes == 2) {
    pack_lanes<uint16_t>(from, codes, lanes, count);
  } else if (lane_bytes == 4) {
    pack_lanes<uint32_t>(from, codes, lanes, count);
  } else {
    pack_lanes<uint64_t>(from, codes, lanes, count);
  }
}

}  // namespace semicon_fast
