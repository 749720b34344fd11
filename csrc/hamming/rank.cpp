#include "hamming/rank.h"

#include <algorithm>
#include <vector>

#include "hamming/counts.h"
#include "hamming/sweep.h"

namespace semicon_fast {
namespace {

// Ranks one tile of queries. All its distances are stored first, so that each row of results is
// written in one pass and stays in cache during it.
class RankedTile {
 public:
  RankedTile(const Isa& isa, const Shape& shape, const Codes& queries, const Codes& database,
             const Grid& grid, int64_t tile, int64_t k, int32_t* distances, int64_t* positions)
      : isa_(isa),
        shape_(shape),
        database_(database),
        measure_(isa, shape, queries, grid, tile),
        ranges_(grid.ranges),
        k_(k),
        width_(shape.bits() + 1),
        stride_((database.count + kStep - 1) / kStep * kStep),
        offsets_(static_cast<size_t>(grid.tile * ranges_ * width_)),
        near_(static_cast<size_t>(grid.tile * stride_)),
        distances_(distances + tile * grid.tile * k),
        positions_(positions + tile * grid.tile * k) {}

  int64_t queries() const { return measure_.count(); }

  // Computes every query's distances to the codes of a range.
  void measure(int64_t range) {
    Blocks blocks(isa_, database_, shape_, first(range), first(range + 1), shape_.block_codes());
    Block block;
    while (blocks.next(&block)) measure_(block, &near_[block.first], stride_);
  }

  // Computes the histogram of query i's distances to the codes of a range.
  void count(int64_t i, int64_t range) {
    Counts counts(1, shape_.bits());
    counts.add(0, &near_[i * stride_ + first(range)], first(range + 1) - first(range));
    counts.add_to(0, &offsets_[(i * ranges_ + range) * width_]);
  }

  // Converts counts to offsets and writes the sorted distances, runs of equal values.
  void finish(int64_t i) {
    int64_t* const offsets = &offsets_[i * ranges_ * width_];
    to_offsets(offsets, ranges_, width_);
    int32_t* const row = distances_ + i * k_;
    for (int64_t distance = 0; distance < width_; ++distance) {
      const int64_t last = distance + 1 < width_ ? offsets[distance + 1] : k_;
      std::fill(row + std::min(offsets[distance], k_), row + std::min(last, k_),
                static_cast<int32_t>(distance));
    }
  }

  void place(int64_t i, int64_t range) {
    int64_t* const offsets = &offsets_[(i * ranges_ + range) * width_];
    int64_t* const row = positions_ + i * k_;
    const uint16_t* const near = &near_[i * stride_];
    const int64_t last = first(range + 1), k = k_;
    for (int64_t position = first(range); position < last; ++position) {
      const int64_t at = offsets[near[position]]++;
      if (at < k) row[at] = position;
    }
  }

 private:
  // First code of a range: a whole step, so that no two ranges write to the same step of distances.
  int64_t first(int64_t range) const {
    return std::min(stride_ / kStep * range / ranges_ * kStep, database_.count);
  }

  const Isa& isa_;
  const Shape& shape_;
  const Codes& database_;
  TileQueries measure_;
  int64_t ranges_, k_, width_, stride_;
  std::vector<int64_t> offsets_;  // (queries of a tile, ranges, width)
  std::vector<uint16_t> near_;    // (queries of a tile, stride)
  int32_t* distances_;
  int64_t* positions_;
};

}  // namespace

void rank(const Codes& queries, const Codes& database, int64_t k, int threads, int32_t* distances,
          int64_t* positions) {
  const Isa& isa = active_isa();
  const Shape shape(queries.bytes, isa, queries.count);
  const Grid grid(isa, shape, queries, database, threads);
  const auto ranked_tile = [&](int64_t tile) {
    return RankedTile(isa, shape, queries, database, grid, tile, k, distances, positions);
  };
  if (grid.ranges == 1) {
    parallel(grid.tiles, grid.threads, [&](int64_t t) {
      RankedTile tile = ranked_tile(t);
      tile.measure(0);
      for (int64_t i = 0; i < tile.queries(); ++i) {
        tile.count(i, 0);
        tile.finish(i);
        tile.place(i, 0);
      }
    });
    return;
  }
  for (int64_t t = 0; t < grid.tiles; ++t) {
    RankedTile tile = ranked_tile(t);
    const int64_t count = tile.queries();
    parallel(grid.ranges, grid.threads, [&](int64_t range) {
      tile.measure(range);
      for (int64_t i = 0; i < count; ++i) tile.count(i, range);
    });
    parallel(count, grid.threads, [&](int64_t i) { tile.finish(i); });
    parallel(grid.ranges, grid.threads, [&](int64_t range) {
      for (int64_t i = 0; i < count; ++i) tile.place(i, range);
    });
  }
}

}  // namespace semicon_fast
