// Codes as blocks of lanes (see kernels.h), a cache's worth at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "hamming/hamming.h"
#include "hamming/isa/kernels.h"

namespace semicon_fast {

// How codes of `bytes` bytes lie in lanes.
struct Shape {
  int64_t bytes;
  int lane_bytes;  // 2, 4 or 8
  int64_t words;   // 64-bit words a code

  Shape(int64_t bytes, const Isa& isa);
  int64_t bits() const { return 8 * bytes; }
  // Bytes of `count` codes in lanes, up to a whole step.
  int64_t packed_bytes(int64_t count) const {
    return (count + kStep - 1) / kStep * kStep * (words > 1 ? words * 8 : lane_bytes);
  }
  // Codes a block, at most: 16 KiB, half of the smallest first-level cache.
  int64_t block_codes() const;
};

// A code as a query: (words,), repeated through its word where it is shorter.
void pack_query(const Codes& codes, const Shape& shape, int64_t row, uint64_t* words);

struct Block {
  const uint8_t* lanes;
  int64_t first;  // position of its first code
  int64_t count;  // codes; lanes after them, up to a whole step, are readable and mean nothing
};

// Passes over the codes first..last - 1 in order. Codes that lie as lanes already are not copied.
class Blocks {
 public:
  // The first block has `smallest` codes (a multiple of kStep), later ones as many as were seen,
  // up to the shape's block: a search that knows nothing yet learns before it reads much.
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
