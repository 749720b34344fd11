#include "hamming/blocks.h"

#include <algorithm>
#include <cstring>

namespace semicon_fast {
namespace {

constexpr int64_t kBlockBytes = 16 << 10;

// Writes in how many of its four bits each value differs from `nibble` -> (16,).
void differences(int nibble, uint8_t* table) {
  for (int value = 0; value < 16; ++value) {
    table[value] = static_cast<uint8_t>(__builtin_popcount(static_cast<unsigned>(value ^ nibble)));
  }
}

// Copies one code as a query in lanes -> (words,). With lanes of 2 or 4 bytes the code is repeated
// to fill its word.
void pack_words(const uint8_t* code, const Shape& shape, uint64_t* words) {
  std::fill(words, words + shape.words, uint64_t{0});
  std::memcpy(words, code, static_cast<size_t>(shape.bytes));
  if (shape.lane_bytes <= 4) words[0] |= words[0] << 32;
  if (shape.lane_bytes <= 2) words[0] |= words[0] << 16;
}

}  // namespace

Shape::Shape(int64_t bytes_, const Isa& isa, int64_t queries)
    : bytes(bytes_),
      words((bytes_ + 7) / 8),
      lane_bytes(std::max(bytes <= 2 ? 2 : bytes <= 4 ? 4 : 8, isa.shortest_lane)),
      planes(isa.plane_queries > 0 && queries >= isa.plane_queries && bytes > 2) {}

int64_t Shape::block_codes() const {
  return std::max<int64_t>(kStep, kBlockBytes / packed_bytes(kStep) * kStep);
}

void Blocks::pack(int64_t count) {
  auto* packed = reinterpret_cast<uint8_t*>(scratch_.data());
  if (count % kStep) {
    const int64_t end = shape_.packed_bytes(count), tail = shape_.packed_bytes(kStep);
    std::memset(packed + end - tail, 0, static_cast<size_t>(tail));
  }
  if (shape_.planes) {
    isa_.pack_planes(codes_, position_, count, packed);
    // The next block, read long after this one, would otherwise be waited for.
    const uint8_t* const next = codes_.data + (position_ + count) * codes_.stride;
    const int64_t ahead = std::min(count, last_ - position_ - count) * codes_.stride;
    for (int64_t at = 0; at < ahead; at += 64) __builtin_prefetch(next + at, 0, 2);
    return;
  }
  isa_.pack(codes_, position_, count, shape_.lane_bytes, packed);
}

void pack_tile(const Codes& codes, const Shape& shape, const int64_t* rows, int64_t count,
               int64_t tile, uint64_t* words) {
  for (int64_t slot = 0; slot < tile; ++slot) {
    const uint8_t* const code = codes.data + rows[std::min(slot, count - 1)] * codes.stride;
    if (shape.planes) {
      auto* const tables = reinterpret_cast<uint8_t*>(words) + slot * kTableBytes;
      for (int64_t plane = 0; plane < shape.length(); ++plane) {
        differences(code[plane / 2] >> (plane % 2 * 4) & 15, tables + plane * tile * kTableBytes);
      }
    } else {
      pack_words(code, shape, words + slot * shape.words);
    }
  }
}

Blocks::Blocks(const Isa& isa, const Codes& codes, const Shape& shape, int64_t first, int64_t last,
               int64_t smallest)
    : isa_(isa),
      codes_(codes),
      shape_(shape),
      first_(first),
      position_(first),
      last_(last),
      smallest_(smallest),
      most_(shape.block_codes()),
      direct_(!shape.planes && codes.stride == codes.bytes && shape.words == 1 &&
              codes.bytes == shape.lane_bytes) {
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
    pack(count);
    *block = {reinterpret_cast<const uint8_t*>(scratch_.data()), position_, count};
  }
  position_ += count;
  return true;
}

}  // namespace semicon_fast
