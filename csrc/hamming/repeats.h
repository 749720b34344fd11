// Search of databases with few distinct codes that occur many times, as learned codes often do.
#pragma once

#include <cstdint>
#include <vector>

#include "hamming/hamming.h"

namespace semicon_fast {

// The distinct codes of a database, each with the first positions at which it occurs.
class Repeats {
 public:
  // Whether, judged by a sample, few codes are distinct (at most some ten thousands).
  static bool likely(const Codes& database);

  // Stores the first k positions of each distinct code. If there are too many distinct codes for
  // this to pay, it stops early and found() is false.
  Repeats(const Codes& database, int64_t k, int threads);
  bool found() const { return !positions_.empty(); }

  // As topk, for the queries numbered `rows`; results go to these rows.
  void topk(const Codes& queries, const std::vector<int64_t>& rows, int threads,
            int32_t* distances, int64_t* positions) const;

 private:
  void nearest(const uint16_t* near, int32_t* distances, int64_t* positions) const;

  int64_t bytes_, k_;
  std::vector<uint8_t> codes_;                   // (distinct, bytes)
  std::vector<std::vector<int64_t>> positions_;  // (distinct): at most k, ascending
};

}  // namespace semicon_fast
