#include "hamming/blocks.h"

#include <algorithm>
#include <cstring>

namespace semicon_fast {
namespace {

constexpr int64_t kBlockBytes = 16 << 10;

}  // namespace

Shape::Shape(int64_t bytes_, const Isa& isa) : bytes(bytes_), words((bytes_ + 7) / 8) {
  lane_bytes = bytes <= 2 ? 2 : bytes <= 4 ? 4 : 8;
  lane_bytes = std::max(lane_bytes, isa.shortest_lane);
}

int64_t Shape::block_codes() const {
  return std::max<int64_t>(kStep, kBlockBytes / packed_bytes(kStep) * kStep);
}

void Blocks::pack(int64_t count) {
  auto* lanes = reinterpret_cast<uint8_t*>(scratch_.data());
  if (count % kStep) {
    const int64_t end = shape_.packed_bytes(count), tail = shape_.packed_bytes(kStep);
    std::memset(lanes + end - tail, 0, static_cast<size_t>(tail));
  }
  isa_.pack(codes_, position_, count, shape_.lane_bytes, lanes);
}

void pack_query(const Codes& codes, const Shape& shape, int64_t row, uint64_t* words) {
  std::fill(words, words + shape.words, uint64_t{0});
  std::memcpy(words, codes.data + row * codes.stride, static_cast<size_t>(codes.bytes));
  if (shape.lane_bytes <= 4) words[0] |= words[0] << 32;
  if (shape.lane_bytes <= 2) words[0] |= words[0] << 16;
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
    pack(count);
    *block = {reinterpret_cast<const uint8_t*>(scratch_.data()), position_, count};
  }
  position_ += count;
  return true;
}

}  // namespace semicon_fast
