// Pairwise distances and histograms: computations that need the distance of every pair.
#include <algorithm>
#include <mutex>

#include "hamming/counts.h"
#include "hamming/hamming.h"
#include "hamming/sweep.h"

namespace semicon_fast {

void distance(const Codes& queries, const Codes& database, int threads, int32_t* distances) {
  if (queries.count == 0 || database.count == 0) return;
  const Isa& isa = active_isa();
  const Shape shape(queries.bytes, isa, queries.count);
  const Grid grid(isa, shape, queries, database, threads);
  parallel(grid.tiles * grid.ranges, grid.threads, [&](int64_t task) {
    const int64_t tile = task / grid.ranges;
    sweep(isa, shape, queries, database, grid, tile, task % grid.ranges,
          [&](int64_t i, const uint16_t* found, int64_t position, int64_t n) {
            int32_t* row = distances + (tile * grid.tile + i) * database.count + position;
            for (int64_t j = 0; j < n; ++j) row[j] = found[j];
          });
  });
}

void histogram(const Codes& queries, const Codes& database, int threads, int64_t* counts) {
  const Isa& isa = active_isa();
  const Shape shape(queries.bytes, isa, queries.count);
  const int64_t width = shape.bits() + 1;
  std::fill(counts, counts + queries.count * width, int64_t{0});
  if (queries.count == 0 || database.count == 0) return;
  const Grid grid(isa, shape, queries, database, threads);
  std::mutex writing;
  parallel(grid.tiles * grid.ranges, grid.threads, [&](int64_t task) {
    const int64_t tile = task / grid.ranges, first = tile * grid.tile;
    Counts found(grid.tile, shape.bits());
    sweep(isa, shape, queries, database, grid, tile, task % grid.ranges,
          [&](int64_t i, const uint16_t* distances, int64_t, int64_t n) {
            found.add(i, distances, n);
          });
    // Integer sums do not depend on the order in which the ranges finish.
    const std::lock_guard<std::mutex> guard(writing);
    for (int64_t i = 0; i < grid.tile && first + i < queries.count; ++i) {
      found.add_to(i, counts + (first + i) * width);
    }
  });
}

}  // namespace semicon_fast
