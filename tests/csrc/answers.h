// Codes to search in and what the answers are, by plain loops. Shared by the checks of all devices.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

#include "hamming/hamming.h"

namespace answers {

using semicon_fast::Codes;
using Random = std::mt19937_64;

inline int64_t below(Random& random, int64_t n) {
  return static_cast<int64_t>(random() % static_cast<uint64_t>(n));
}

// Rows in a buffer of exactly their size, so that a sanitizer sees the first byte read beyond it, and
// those before the first row but for the last few, since it knows only groups of 8.
struct Table {
  std::unique_ptr<uint8_t[]> buffer;
  Codes codes;

  // The first row `offset` bytes behind an address that is aligned to 16; `gap` bytes between rows;
  // so many `distinct` rows, if not 0.
  Table(Random& random, int64_t count, int64_t bytes, int64_t gap, int64_t offset,
        int64_t distinct)
      : codes{nullptr, count, bytes, bytes + gap} {
    const int64_t size = offset + (count ? (count - 1) * codes.stride + bytes : 0);
    buffer.reset(new uint8_t[static_cast<size_t>(size)]);
    for (int64_t i = 0; i < size; ++i) buffer[i] = static_cast<uint8_t>(random());
    uint8_t* first = buffer.get() + offset;
    for (int64_t i = distinct; distinct && i < count; ++i) {
      std::copy_n(first + below(random, distinct) * codes.stride, bytes, first + i * codes.stride);
    }
    codes.data = first;
#ifdef __SANITIZE_ADDRESS__
    __asan_poison_memory_region(buffer.get(), static_cast<size_t>(offset / 8 * 8));
#endif
  }
};

// A query's row of distances.
using Row = std::vector<int32_t>;

inline std::vector<Row> distances(const Codes& queries, const Codes& database) {
  std::vector<Row> rows(static_cast<size_t>(queries.count));
  for (int64_t q = 0; q < queries.count; ++q) {
    for (int64_t n = 0; n < database.count; ++n) {
      int32_t distance = 0;
      for (int64_t b = 0; b < database.bytes; ++b) {
        unsigned x = queries.data[q * queries.stride + b] ^ database.data[n * database.stride + b];
        for (; x; x &= x - 1) ++distance;
      }
      rows[static_cast<size_t>(q)].push_back(distance);
    }
  }
  return rows;
}

// Positions, ascending by (distance, position).
inline std::vector<int64_t> order(const Row& row) {
  std::vector<int64_t> positions(row.size());
  std::iota(positions.begin(), positions.end(), int64_t{0});
  std::stable_sort(positions.begin(), positions.end(),
                   [&](int64_t a, int64_t b) { return row[a] < row[b]; });
  return positions;
}

// Results of all queries, one after another.
struct Results {
  std::vector<int32_t> distances;
  std::vector<int64_t> positions;
  std::vector<int64_t> lims{0};

  // The first `count` of a row's order.
  void add(const Row& row, const std::vector<int64_t>& ordered, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      distances.push_back(row[ordered[i]]);
      positions.push_back(ordered[i]);
    }
    lims.push_back(static_cast<int64_t>(positions.size()));
  }
};

inline Results nearest(const std::vector<Row>& rows, int64_t k) {
  Results results;
  for (const Row& row : rows) results.add(row, order(row), k);
  return results;
}

inline Results range_search(const std::vector<Row>& rows, int64_t radius) {
  Results results;
  for (const Row& row : rows) {
    const auto within = std::count_if(row.begin(), row.end(), [&](auto d) { return d <= radius; });
    results.add(row, order(row), within);
  }
  return results;
}

inline std::vector<int64_t> histogram(const std::vector<Row>& rows, int64_t bytes) {
  const auto width = static_cast<size_t>(8 * bytes + 1);
  std::vector<int64_t> counts(rows.size() * width);
  for (size_t q = 0; q < rows.size(); ++q) {
    for (const int32_t d : rows[q]) ++counts[q * width + static_cast<size_t>(d)];
  }
  return counts;
}

// Groups of any size, empty ones and such as nobody asks for among them.
struct Groups {
  std::vector<int64_t> of, members, lims{0};

  Groups(Random& random, int64_t queries, int64_t count) {
    for (const uint64_t every : {1, 2, 17, 400, 1 << 20}) {
      for (int64_t n = 0; n < count; ++n) {
        if (random() % every == 0) members.push_back(n);
      }
      lims.push_back(static_cast<int64_t>(members.size()));
    }
    for (int64_t q = 0; q < queries; ++q) of.push_back(below(random, 5));
  }
  semicon_fast::Groups lists() const { return {of.data(), members.data(), lims.data()}; }
  std::vector<int64_t> group(size_t query) const {
    return {members.begin() + lims[of[query]], members.begin() + lims[of[query] + 1]};
  }
};

inline std::vector<int64_t> ranks(const std::vector<Row>& rows, const Groups& groups) {
  std::vector<int64_t> all;
  for (size_t q = 0; q < rows.size(); ++q) {
    const auto group = groups.group(q), ordered = order(rows[q]);
    for (size_t i = 0; i < ordered.size(); ++i) {
      if (std::binary_search(group.begin(), group.end(), ordered[i])) {
        all.push_back(static_cast<int64_t>(i) + 1);
      }
    }
  }
  return all;
}

inline std::vector<int64_t> group_histogram(std::vector<Row> rows, const Groups& groups,
                                            int64_t bytes) {
  for (size_t q = 0; q < rows.size(); ++q) {
    Row chosen;
    for (const int64_t member : groups.group(q)) chosen.push_back(rows[q][member]);
    rows[q] = chosen;
  }
  return histogram(rows, bytes);
}

}  // namespace answers
