#include "blocks.h"

#include <algorithm>
#include <cstring>

namespace semicon_fast {
namespace {

constexpr int64_t kBlockBytes = 16 << 10;

// Codes of `Bytes` bytes, known to the compiler so that a code is one or two loads and a store.
template <class Lane, int Bytes>
void pack_short(const uint8_t* from, int64_t stride, int64_t count, uint8_t* to) {
  for (int64_t i = 0; i < count; ++i) {
    Lane lane = 0;
    std::memcpy(&lane, from + i * stride, Bytes);
    std::memcpy(to + i * sizeof(Lane), &lane, sizeof(Lane));
  }
}

template <class Lane>
void pack_lanes(const Codes& codes, const uint8_t* from, int64_t count, uint8_t* to) {
  switch (codes.bytes) {
    case 1: return pack_short<Lane, 1>(from, codes.stride, count, to);
    case 2: return pack_short<Lane, 2>(from, codes.stride, count, to);
    case 3: return pack_short<Lane, sizeof(Lane) < 3 ? 1 : 3>(from, codes.stride, count, to);
    case 4: return pack_short<Lane, sizeof(Lane) < 4 ? 1 : 4>(from, codes.stride, count, to);
    case 5: return pack_short<Lane, sizeof(Lane) < 8 ? 1 : 5>(from, codes.stride, count, to);
    case 6: return pack_short<Lane, sizeof(Lane) < 8 ? 1 : 6>(from, codes.stride, count, to);
    case 7: return pack_short<Lane, sizeof(Lane) < 8 ? 1 : 7>(from, codes.stride, count, to);
    default: return pack_short<Lane, sizeof(Lane) < 8 ? 1 : 8>(from, codes.stride, count, to);
  }
}

// Word w of eight neighbouring codes side by side.
void pack_words(const Codes& codes, const Shape& shape, const uint8_t* from, int64_t count,
                uint8_t* to) {
  const int64_t whole = codes.bytes / 8, rest = codes.bytes % 8;
  for (int64_t i = 0; i < count; ++i) {
    const uint8_t* code = from + i * codes.stride;
    uint8_t* lane = to + i / 8 * shape.words * kGroupBytes + i % 8 * 8;
    for (int64_t word = 0; word < whole; ++word) {
      std::memcpy(lane + word * kGroupBytes, code + word * 8, 8);
    }
    if (rest) {
      uint64_t last = 0;
      std::memcpy(&last, code + whole * 8, static_cast<size_t>(rest));
      std::memcpy(lane + whole * kGroupBytes, &last, 8);
    }
  }
}

}  // namespace

Shape::Shape(int64_t bytes_, const Isa& isa) : bytes(bytes_), words((bytes_ + 7) / 8) {
  lane_bytes = bytes <= 2 ? 2 : bytes <= 4 ? 4 : 8;
  lane_bytes = std::max(lane_bytes, isa.shortest_lane);
}

int64_t Shape::block_codes() const {
  return std::max<int64_t>(kStep, kBlockBytes / packed_bytes(kStep) * kStep);
}

void pack(const Codes& codes, const Shape& shape, int64_t first, int64_t count, uint8_t* lanes) {
  if (count % kStep) {
    const int64_t end = shape.packed_bytes(count);
    const int64_t tail = end - shape.packed_bytes(kStep);
    std::memset(lanes + tail, 0, static_cast<size_t>(end - tail));
  }
  const uint8_t* from = codes.data + first * codes.stride;
  if (shape.words > 1) {
    pack_words(codes, shape, from, count, lanes);
  } else if (shape.lane_bytes == 2) {
    pack_lanes<uint16_t>(codes, from, count, lanes);
  } else if (shape.lane_bytes == 4) {
    pack_lanes<uint32_t>(codes, from, count, lanes);
  } else {
    pack_lanes<uint64_t>(codes, from, count, lanes);
  }
}

void pack_query(const Codes& codes, const Shape& shape, int64_t row, uint64_t* words) {
  std::fill(words, words + shape.words, uint64_t{0});
  std::memcpy(words, codes.data + row * codes.stride, static_cast<size_t>(codes.bytes));
  if (shape.lane_bytes <= 4) words[0] |= words[0] << 32;
  if (shape.lane_bytes <= 2) words[0] |= words[0] << 16;
}

Blocks::Blocks(const Codes& codes, const Shape& shape, int64_t first, int64_t last,
               int64_t smallest)
    : codes_(codes),
      shape_(shape),
      first_(first),
      position_(first),
      last_(last),
      smallest_(smallest),
      most_(shape.block_codes()),
      direct_(codes.stride == codes.bytes && shape.words == 1 && codes.bytes == shape.lane_bytes) {
  const int64_t largest = direct_ ? kStep : std::min(most_, last - first);
  scratch_.resize(static_cast<size_t>(shape.packed_bytes(largest) / 8));
}

bool Blocks::next(Block* block) {
  if (position_ == last_) return false;
  const int64_t seen = (position_ - first_) / kStep * kStep;
  int64_t count = std::min(std::clamp(seen, std::min(smallest_, most_), most_), last_ - position_);
  if (direct_ && count >= kStep) {
    count = count / kStep * kStep;
    *block = {codes_.data + position_ * codes_.bytes, position_, count};
  } else {
    uint8_t* lanes = reinterpret_cast<uint8_t*>(scratch_.data());
    pack(codes_, shape_, position_, count, lanes);
    *block = {lanes, position_, count};
  }
  position_ += count;
  return true;
}

}  // namespace semicon_fast
