// Ranks and histograms of groups of codes. Ranks are computed without a full ranking: while a
// query's distances are counted, the number of earlier codes at the same distance is stored for
// each member of its group.
#include <algorithm>

#include "hamming/counts.h"
#include "hamming/hamming.h"
#include "hamming/scan.h"
#include "hamming/sweep.h"
#include "common/words.h"

namespace semicon_fast {
namespace {

class Ranks {
 public:
  Ranks(const Codes& queries, const Codes& database, const Groups& groups, int threads,
        int64_t* ranks)
      : isa_(active_isa()),
        shape_(queries.bytes, isa_, queries.count),
        grid_(isa_, shape_, queries, database, threads),
        queries_(queries),
        database_(database),
        groups_(groups),
        width_(shape_.bits() + 1),
        starts_(static_cast<size_t>(queries.count + 1)),
        ranks_(ranks) {
    for (int64_t q = 0; q < queries.count; ++q) starts_[q + 1] = starts_[q] + size(q);
  }

  void run() {
    if (grid_.ranges == 1) {
      parallel(grid_.tiles, grid_.threads, [&](int64_t tile) {
        Tables tables(static_cast<size_t>(grid_.tile * width_));
        count(tile, 0, tables);
        for (int64_t i = 0; i < in_tile(tile); ++i) finish(tile, i, tables);
      });
      return;
    }
    for (int64_t tile = 0; tile < grid_.tiles; ++tile) {
      Tables tables(static_cast<size_t>(grid_.tile * grid_.ranges * width_));
      parallel(grid_.ranges, grid_.threads, [&](int64_t range) { count(tile, range, tables); });
      parallel(in_tile(tile), grid_.threads, [&](int64_t i) { finish(tile, i, tables); });
    }
  }

 private:
  using Tables = std::vector<int64_t>;  // (queries of a tile, ranges, width)

  const int64_t* members(int64_t q) const {
    return groups_.members + groups_.lims[groups_.of[q]];
  }
  int64_t size(int64_t q) const {
    return groups_.lims[groups_.of[q] + 1] - groups_.lims[groups_.of[q]];
  }
  int64_t in_tile(int64_t tile) const {
    return std::min(grid_.tile, queries_.count - tile * grid_.tile);
  }

  // Computes the histograms of one range. A member's entry in ranks_ then holds its distance, and
  // how many codes of the same range and distance come before it.
  void count(int64_t tile, int64_t range, Tables& tables) const {
    Counts counts(grid_.tile, shape_.bits());
    const int64_t begin = grid_.first_code(database_, range);
    std::vector<int64_t> next(static_cast<size_t>(in_tile(tile)));
    for (int64_t i = 0; i < in_tile(tile); ++i) {
      const int64_t* const first = members(tile * grid_.tile + i);
      next[i] = std::lower_bound(first, first + size(tile * grid_.tile + i), begin) - first;
    }
    sweep(isa_, shape_, queries_, database_, grid_, tile, range,
          [&](int64_t i, const uint16_t* distances, int64_t position, int64_t n) {
            const int64_t q = tile * grid_.tile + i, size = this->size(q);
            const int64_t* const wanted = members(q);
            int64_t done = 0;
            for (int64_t& m = next[i]; m < size && wanted[m] < position + n; ++m) {
              const int64_t at = wanted[m] - position;
              counts.add(i, distances + done, at - done);
              done = at;
              ranks_[starts_[q] + m] =
                  static_cast<int64_t>(pair_key(distances[at], counts.at(i, distances[at])));
            }
            counts.add(i, distances + done, n - done);
          });
    for (int64_t i = 0; i < in_tile(tile); ++i) {
      counts.add_to(i, &tables[(i * grid_.ranges + range) * width_]);
    }
  }

  // Converts counts within a range to ranks among all codes, and sorts them.
  void finish(int64_t tile, int64_t i, Tables& tables) const {
    const int64_t q = tile * grid_.tile + i, size = this->size(q);
    int64_t* const offsets = &tables[i * grid_.ranges * width_];
    int64_t* const own = ranks_ + starts_[q];
    to_offsets(offsets, grid_.ranges, width_);
    const int64_t* const wanted = members(q);
    for (int64_t m = 0, range = 0; m < size; ++m) {
      while (wanted[m] >= grid_.first_code(database_, range + 1)) ++range;
      const auto key = static_cast<uint64_t>(own[m]);
      own[m] = offsets[range * width_ + key_distance(key)] + key_position(key) + 1;
    }
    std::sort(own, own + size);
  }

  const Isa& isa_;
  Shape shape_;
  Grid grid_;
  Codes queries_, database_;
  Groups groups_;
  int64_t width_;
  std::vector<int64_t> starts_;  // (Q + 1,)
  int64_t* ranks_;
};

int64_t differing_bits(const uint8_t* a, const uint8_t* b, int64_t bytes) {
  int64_t sum = 0;
  for (; bytes > 8; a += 8, b += 8, bytes -= 8) {
    sum += __builtin_popcountll(load_word(a, 8) ^ load_word(b, 8));
  }
  return sum + __builtin_popcountll(load_word(a, bytes) ^ load_word(b, bytes));
}

}  // namespace

void group_histogram(const Codes& queries, const Codes& database, const Groups& groups,
                     int threads, int64_t* counts) {
  const int64_t width = 8 * queries.bytes + 1;
  std::fill(counts, counts + queries.count * width, int64_t{0});
  parallel(queries.count, threads, [&](int64_t q) {
    const uint8_t* const query = queries.data + q * queries.stride;
    const int64_t group = groups.of[q];
    for (int64_t m = groups.lims[group]; m < groups.lims[group + 1]; ++m) {
      const uint8_t* const code = database.data + groups.members[m] * database.stride;
      ++counts[q * width + differing_bits(query, code, queries.bytes)];
    }
  });
}

void ranks(const Codes& queries, const Codes& database, const Groups& groups, int threads,
           int64_t* ranks) {
  if (queries.count == 0 || database.count == 0) return;
  Ranks(queries, database, groups, threads, ranks).run();
}

}  // namespace semicon_fast
