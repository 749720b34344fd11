// Histograms of distances. Several tables avoid waiting for the previous store to the same counter.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace semicon_fast {

// Histograms over the distances 0..bits, one for each of `queries` queries.
class Counts {
 public:
  Counts(int64_t queries, int64_t bits)
      : width_(bits + 1),
        // Consecutive codes often have the same distance; beyond 1024 bits that is rare, and
        // several tables would no longer fit the L1 cache.
        tables_(bits <= 1024 ? 4 : 1),
        counts_(static_cast<size_t>(queries * tables_ * width_)) {}

  void add(int64_t query, const uint16_t* distances, int64_t n) {
    int64_t* table = &counts_[query * tables_ * width_];
    const int64_t next = tables_ == 4 ? width_ : 0;
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
      ++table[distances[i]];
      ++table[next + distances[i + 1]];
      ++table[2 * next + distances[i + 2]];
      ++table[3 * next + distances[i + 3]];
    }
    for (; i < n; ++i) ++table[distances[i]];
  }

  // Number of codes counted at this distance so far.
  int64_t at(int64_t query, int64_t distance) const {
    const int64_t* table = &counts_[query * tables_ * width_ + distance];
    int64_t sum = 0;
    for (int64_t t = 0; t < tables_; ++t) sum += table[t * width_];
    return sum;
  }

  // Adds one query's histogram to `sum` (bits + 1,).
  void add_to(int64_t query, int64_t* sum) const {
    for (int64_t d = 0; d < width_; ++d) sum[d] += at(query, d);
  }

 private:
  int64_t width_, tables_;
  std::vector<int64_t> counts_;
};

// Replaces the counts (ranges, width) of one query by the output position of the first code of each
// (range, distance).
inline void to_offsets(int64_t* counts, int64_t ranges, int64_t width) {
  int64_t next = 0;
  for (int64_t distance = 0; distance < width; ++distance) {
    for (int64_t range = 0; range < ranges; ++range) {
      next += std::exchange(counts[range * width + distance], next);
    }
  }
}

}  // namespace semicon_fast
