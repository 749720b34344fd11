#include "rank.h"

#include <algorithm>
#include <utility>

#include "counts.h"
#include "sweep.h"

namespace semicon_fast {
namespace {

// counts (ranges, width) of one query -> where the first code of each (range, distance) goes.
void to_offsets(std::vector<int64_t>& counts, int64_t ranges, int64_t width) {
  int64_t next = 0;
  for (int64_t distance = 0; distance < width; ++distance) {
    for (int64_t range = 0; range < ranges; ++range) {
      int64_t& entry = counts[range * width + distance];
      next += std::exchange(entry, next);
    }
  }
}

// What rank() writes for one tile of queries.
class Ranking {
 public:
  Ranking(const Codes& queries, const Codes& database, int64_t k, int threads, int32_t* distances,
          int64_t* positions)
      : isa_(active_isa()),
        shape_(queries.bytes, isa_),
        grid_(isa_, shape_, queries, database, threads),
        queries_(queries),
        database_(database),
        k_(k),
        width_(shape_.bits() + 1),
        distances_(distances),
        positions_(positions) {}

  void run() {
    if (grid_.ranges == 1) {
      parallel(grid_.tiles, grid_.threads, [&](int64_t tile) {
        Tables tables = make_tables();
        count(tile, 0, tables);
        finish_counts(tile, tables);
        place(tile, 0, tables);
      });
      return;
    }
    for (int64_t tile = 0; tile < grid_.tiles; ++tile) {
      Tables tables = make_tables();
      parallel(grid_.ranges, grid_.threads, [&](int64_t range) { count(tile, range, tables); });
      finish_counts(tile, tables);
      parallel(grid_.ranges, grid_.threads, [&](int64_t range) { place(tile, range, tables); });
    }
  }

 private:
  using Tables = std::vector<std::vector<int64_t>>;  // (queries of a tile), each (ranges, width)

  Tables make_tables() const {
    return Tables(grid_.tile, std::vector<int64_t>(static_cast<size_t>(grid_.ranges * width_)));
  }

  void count(int64_t tile, int64_t range, Tables& tables) const {
    Counts counts(grid_.tile, shape_.bits());
    sweep(isa_, shape_, queries_, database_, grid_, tile, range,
          [&](int64_t i, const uint16_t* distances, int64_t, int64_t n) {
            counts.add(i, distances, n);
          });
    for (int64_t i = 0; i < grid_.tile; ++i) counts.add_to(i, &tables[i][range * width_]);
  }

  // Offsets, and the distances themselves, which are runs of equal numbers.
  void finish_counts(int64_t tile, Tables& tables) const {
    for (int64_t i = 0; i < grid_.tile && tile * grid_.tile + i < queries_.count; ++i) {
      to_offsets(tables[i], grid_.ranges, width_);
      int32_t* row = distances_ + (tile * grid_.tile + i) * k_;
      for (int64_t distance = 0; distance < width_; ++distance) {
        const int64_t last = distance + 1 < width_ ? tables[i][distance + 1] : k_;
        std::fill(row + std::min(tables[i][distance], k_), row + std::min(last, k_),
                  static_cast<int32_t>(distance));
      }
    }
  }

  void place(int64_t tile, int64_t range, Tables& tables) const {
    sweep(isa_, shape_, queries_, database_, grid_, tile, range,
          [&](int64_t i, const uint16_t* distances, int64_t position, int64_t n) {
            int64_t* offsets = &tables[i][range * width_];
            int64_t* row = positions_ + (tile * grid_.tile + i) * k_;
            for (int64_t j = 0; j < n; ++j) {
              const int64_t at = offsets[distances[j]]++;
              if (at < k_) row[at] = position + j;
            }
          });
  }

  const Isa& isa_;
  Shape shape_;
  Grid grid_;
  Codes queries_, database_;
  int64_t k_, width_;
  int32_t* distances_;
  int64_t* positions_;
};

}  // namespace

void rank(const Codes& queries, const Codes& database, int64_t k, int threads, int32_t* distances,
          int64_t* positions) {
  Ranking(queries, database, k, threads, distances, positions).run();
}

}  // namespace semicon_fast
