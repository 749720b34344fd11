// Histograms of small integers, without waiting for the last store to the same counter.
#pragma once

#include <cstdint>
#include <vector>

namespace semicon_fast {

// Histograms of `queries` queries over the distances 0..bits.
class Counts {
 public:
  Counts(int64_t queries, int64_t bits)
      : width_(bits + 1),
        // Neighbouring codes often lie at the same distance; beyond 1024 bits that is rare, and
        // more tables would leave the first-level cache.
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

  // Adds one query's histogram to `sum` (bits + 1,).
  void add_to(int64_t query, int64_t* sum) const {
    const int64_t* table = &counts_[query * tables_ * width_];
    for (int64_t t = 0; t < tables_; ++t) {
      for (int64_t i = 0; i < width_; ++i) sum[i] += table[t * width_ + i];
    }
  }

 private:
  int64_t width_, tables_;
  std::vector<int64_t> counts_;
};

}  // namespace semicon_fast
