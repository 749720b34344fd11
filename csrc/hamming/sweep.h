// Computes all distances from some queries to a range of codes, one block at a time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "hamming/blocks.h"
#include "common/threads.h"
#include "hamming/scan.h"

namespace semicon_fast {

// How the Q x N pairs are divided: into tiles of queries and, if there are few tiles, also into
// ranges of codes.
struct Grid {
  int64_t tile;    // queries per tile
  int64_t tiles;
  int64_t ranges;
  int threads;

  Grid(const Isa& isa, const Shape& shape, const Codes& queries, const Codes& database,
       int most_threads) {
    tile = kernel_for(isa, shape, queries.count).queries;
    tiles = (queries.count + tile - 1) / tile;
    threads = useful_threads(most_threads, queries.count * database.count * shape.words);
    const int64_t all = 4 * threads;
    const int64_t wanted = threads == 1 ? 1 : (all + tiles - 1) / std::max<int64_t>(tiles, 1);
    ranges = std::clamp<int64_t>(database.count >> 14, 1, wanted);
  }
  int64_t first_code(const Codes& database, int64_t range) const {
    return database.count * range / ranges;
  }
};

// The queries of one tile of a grid, packed for comparison with blocks.
class TileQueries {
 public:
  TileQueries(const Isa& isa, const Shape& shape, const Codes& queries, const Grid& grid,
              int64_t tile)
      : kernel_(kernel_for(isa, shape, grid.tile)),
        length_(shape.length()),
        count_(std::min(grid.tile, queries.count - tile * grid.tile)),
        codes_(static_cast<size_t>(kernel_.queries * shape.query_words())) {
    int64_t rows[kTile];
    for (int64_t i = 0; i < count_; ++i) rows[i] = tile * grid.tile + i;
    pack_tile(queries, shape, rows, count_, kernel_.queries, codes_.data());
  }
  int64_t count() const { return count_; }
  // Writes distances (queries of a tile, stride).
  void operator()(const Block& block, uint16_t* distances, int64_t stride) const {
    const int64_t steps = (block.count + kernel_.step - 1) / kernel_.step;
    kernel_.distances(block.packed, steps, length_, codes_.data(), distances, stride);
  }

 private:
  Kernel kernel_;
  int64_t length_, count_;
  std::vector<uint64_t> codes_;
};

// Calls use(i, distances, position, count) for each block in order of position: distances uint16
// (count,) from the tile's i-th query to the codes from `position` on.
template <class Use>
void sweep(const Isa& isa, const Shape& shape, const Codes& queries, const Codes& database,
           const Grid& grid, int64_t tile, int64_t range, const Use& use) {
  const TileQueries measure(isa, shape, queries, grid, tile);
  const int64_t most = shape.block_codes();
  std::vector<uint16_t> distances(static_cast<size_t>(grid.tile * most));
  Blocks blocks(isa, database, shape, grid.first_code(database, range),
                grid.first_code(database, range + 1), most);
  Block block;
  while (blocks.next(&block)) {
    measure(block, distances.data(), most);
    for (int64_t i = 0; i < measure.count(); ++i) {
      use(i, &distances[i * most], block.first, block.count);
    }
  }
}

}  // namespace semicon_fast
