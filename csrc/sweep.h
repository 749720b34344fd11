// All distances of some queries to a range of codes, a block at a time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "blocks.h"
#include "parallel.h"
#include "scan.h"

namespace semicon_fast {

// How Q x N is cut: tiles of queries, and ranges of codes where there are few tiles.
struct Grid {
  int64_t tile;    // queries a tile
  int64_t tiles;
  int64_t ranges;
  int threads;

  Grid(const Isa& isa, const Shape& shape, const Codes& queries, const Codes& database,
       int most_threads) {
    tile = isa.kernel(shape.lane_bytes, shape.words, queries.count).queries;
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

// use(i, distances, position, count): distances uint16 (count,) of the tile's i-th query to the
// codes from `position` on; blocks in order of position.
template <class Use>
void sweep(const Isa& isa, const Shape& shape, const Codes& queries, const Codes& database,
           const Grid& grid, int64_t tile, int64_t range, const Use& use) {
  const int64_t first = tile * grid.tile, count = std::min(grid.tile, queries.count - first);
  const Kernel kernel = isa.kernel(shape.lane_bytes, shape.words, grid.tile);
  std::vector<uint64_t> words(static_cast<size_t>(kernel.queries * shape.words));
  for (int64_t i = 0; i < kernel.queries; ++i) {
    pack_query(queries, shape, first + std::min(i, count - 1), &words[i * shape.words]);
  }
  const int64_t most = shape.block_codes();
  std::vector<uint16_t> distances(static_cast<size_t>(kernel.queries * most));
  Blocks blocks(isa, database, shape, grid.first_code(database, range),
                grid.first_code(database, range + 1), most);
  Block block;
  while (blocks.next(&block)) {
    const int64_t steps = (block.count + kernel.step - 1) / kernel.step;
    kernel.distances(block.lanes, steps, shape.words, words.data(), distances.data(), most);
    for (int64_t i = 0; i < count; ++i) use(i, &distances[i * most], block.first, block.count);
  }
}

}  // namespace semicon_fast
