// Iterates over codes in blocks that fit the L1 cache, in the vector layout ("lanes", see
// isa/kernels.h).
#pragma once

#include <cstdint>
#include <vector>

#include "hamming/hamming.h"
#include "hamming/isa/kernels.h"

namespace semicon_fast {

// The lane layout of codes of `bytes` bytes.
struct Shape {
  int64_t bytes;
  int lane_bytes;  // 2, 4 or 8
  int64_t words;   // 64-bit words per code

  Shape(int64_t bytes, const Isa& isa);
  int64_t bits() const { return 8 * bytes; }
  // Bytes of `count` codes in lanes, rounded up to a whole step.
  int64_t packed_bytes(int64_t count) const {
    return (count + kStep - 1) / kStep * kStep * (words > 1 ? words * 8 : lane_bytes);
  }
  // Largest number of codes in a block: 16 KiB, half of the smallest L1 cache.
  int64_t block_codes() const;
};

// Copies code `row` as a query -> (words,). With lanes of 2 or 4 bytes the code is repeated to fill
// its word.
void pack_query(const Codes& codes, const Shape& shape, int64_t row, uint64_t* words);

struct Block {
  const uint8_t* lanes;
  int64_t first;  // position of its first code
  int64_t count;  // codes; the lanes after them up to a whole step are readable but undefined
};

// Iterates over the codes first..last - 1 in order. Codes that already have the lane layout are not
// copied.
class Blocks {
 public:
  // The first block has `smallest` codes (a multiple of kStep); each later one has as many codes as
  // all blocks before it, up to Shape::block_codes(). So a search that starts without useful limits
  // can lower them before it has read much.
  Blocks(const Isa& isa, const Codes& codes, const Shape& shape, int64_t first, int64_t last,
         int64_t smallest);
  bool next(Block* block);

 private:
  void pack(int64_t count);

  const Isa& isa_;
  const Codes& codes_;
  const Shape& shape_;
  int64_t first_, position_, last_, smallest_, most_;
  bool direct_;
  std::vector<uint64_t> scratch_;
};

}  // namespace semicon_fast
