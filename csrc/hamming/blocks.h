// Iterates over codes in blocks that fit the L1 cache, in lanes or planes (see isa/kernels.h).
#pragma once

#include <cstdint>
#include <vector>

#include "hamming/hamming.h"
#include "hamming/isa/kernels.h"

namespace semicon_fast {

// Copies the codes of these rows as a tile of `tile` queries, tile >= count: those past `count`
// repeat the last. tile * shape.query_words() words are written, in the form that kernels read.
void pack_tile(const Codes& codes, const Shape& shape, const int64_t* rows, int64_t count,
               int64_t tile, uint64_t* words);

struct Block {
  const uint8_t* packed;
  int64_t first;  // position of its first code
  int64_t count;  // codes; those after them up to a whole step are readable but undefined
};

// Iterates over the codes first..last - 1 in order. Codes that already have the layout of lanes are
// not copied.
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
