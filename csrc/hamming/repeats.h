// Databases in which few codes occur many times, as learned ones do: search among the distinct.
#pragma once

#include <cstdint>
#include <vector>

#include "hamming/hamming.h"

namespace semicon_fast {

// The distinct codes of a database, each with the first positions at which it lies.
class Repeats {
 public:
  // Whether a look at some codes says that few are distinct (some ten thousands at most).
  static bool likely(const Codes& database);

  // Keeps the first k positions of each. Gives up, and leaves found() false, as soon as there turn
  // out to be more distinct codes than is worth it.
  Repeats(const Codes& database, int64_t k, int threads);
  bool found() const { return !positions_.empty(); }

  // As topk, for the queries `rows` of all.
  void topk(const Codes& queries, const std::vector<int64_t>& rows, int threads,
            int32_t* distances, int64_t* positions) const;

 private:
  void nearest(const uint16_t* near, int32_t* distances, int64_t* positions) const;

  int64_t bytes_, k_;
  std::vector<uint8_t> codes_;                   // (distinct, bytes)
  std::vector<std::vector<int64_t>> positions_;  // (distinct): at most k, ascending
};

}  // namespace semicon_fast
