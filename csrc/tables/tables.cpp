// Search in tables: looks up ever larger radii until the certificate of tables.h holds.
#include "tables/tables.h"

#include <algorithm>
#include <numeric>

#include "hamming/scan.h"
#include "tables/tables_probe.h"

namespace semicon_fast {
namespace {

// The k smallest different keys of those pushed.
class Smallest {
 public:
  explicit Smallest(int64_t k) : k_(static_cast<size_t>(k)) {}

  void push(uint64_t key) {
    if (key >= bound_) return;
    keys_.push_back(key);
    if (keys_.size() >= 2 * k_ + 256) reduce();
  }
  // Keys from here on are not among the k smallest.
  uint64_t bound() const { return bound_; }
  bool full() const { return bound_ != ~uint64_t{0}; }
  // Sorts the keys. A code is found once for each table that it is near in, so they may repeat.
  const std::vector<uint64_t>& reduce() {
    std::sort(keys_.begin(), keys_.end());
    keys_.erase(std::unique(keys_.begin(), keys_.end()), keys_.end());
    if (keys_.size() >= k_) {
      keys_.resize(k_);
      bound_ = keys_.back();
    }
    return keys_;
  }

 private:
  size_t k_;
  uint64_t bound_ = ~uint64_t{0};
  std::vector<uint64_t> keys_;
};

// Codes of the listed rows.
struct Rows {
  std::vector<uint8_t> data;
  Codes codes;

  Rows(const Codes& from, const std::vector<int64_t>& rows)
      : codes{nullptr, static_cast<int64_t>(rows.size()), from.bytes, from.bytes} {
    for (const int64_t row : rows) {
      data.insert(data.end(), from.data + row * from.stride,
                  from.data + row * from.stride + from.bytes);
    }
    codes.data = data.data();
  }
};

std::vector<int64_t> marked(const std::vector<uint8_t>& marks) {
  std::vector<int64_t> rows;
  for (size_t i = 0; i < marks.size(); ++i) {
    if (marks[i]) rows.push_back(static_cast<int64_t>(i));
  }
  return rows;
}

void write(const std::vector<uint64_t>& keys, int64_t k, int32_t* distances, int64_t* positions) {
  for (int64_t i = 0; i < k; ++i) {
    distances[i] = static_cast<int32_t>(key_distance(keys[i]));
    positions[i] = key_position(keys[i]);
  }
}

}  // namespace

template <class Index>
int64_t topk_tables(const TableSearch<Index>& search, int64_t k, int32_t* distances,
                    int64_t* positions) {
  const int64_t queries = search.queries.count, bits = 8 * search.queries.bytes;
  if (k == 0 || queries == 0) return 0;
  std::vector<uint8_t> left(static_cast<size_t>(queries));
  each_query(search, std::min(search.limit, 1e4), [&](Probe<Index>& probe, int64_t query) {
    Smallest found(k);
    const auto most = [&] { return found.full() ? key_distance(found.bound()) : bits; };
    const auto accept = [&](int64_t position, int64_t distance) {
      found.push(pair_key(distance, position));
    };
    while (probe.certificate() < most()) {
      if (!probe.widen(most, accept)) {
        left[query] = 1;
        return;
      }
      found.reduce();
    }
    const auto& keys = found.reduce();
    // A damaged table may lack codes.
    left[query] = static_cast<int64_t>(keys.size()) < k;
    if (!left[query]) write(keys, k, distances + query * k, positions + query * k);
  });

  const auto rows = marked(left);
  const auto scanned = static_cast<int64_t>(rows.size());
  const Rows again(search.queries, rows);
  std::vector<int32_t> near(static_cast<size_t>(scanned * k));
  std::vector<int64_t> where(near.size());
  if (scanned) topk(again.codes, search.database, k, search.threads, near.data(), where.data());
  for (int64_t i = 0; i < scanned; ++i) {
    std::copy_n(near.data() + i * k, k, distances + rows[i] * k);
    std::copy_n(where.data() + i * k, k, positions + rows[i] * k);
  }
  return scanned;
}

template <class Index>
Found range_tables(const TableSearch<Index>& search, int64_t radius) {
  const int64_t queries = search.queries.count;
  Found found;
  found.keys.resize(static_cast<size_t>(queries));
  std::vector<uint8_t> left(static_cast<size_t>(queries));
  each_query(search, std::min(search.limit, 1e3), [&](Probe<Index>& probe, int64_t query) {
    auto& keys = found.keys[query];
    const auto accept = [&](int64_t position, int64_t distance) {
      keys.push_back(pair_key(distance, position));
    };
    const std::vector<int64_t> none(search.tables.size());
    bool enough = probe.expected(radius, none) <= search.limit;
    while (enough && probe.certificate() < radius) {
      enough = probe.widen([&] { return radius; }, accept);
    }
    left[query] = !enough;
    std::sort(keys.begin(), keys.end());
    keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  });

  const auto rows = marked(left);
  found.scanned = static_cast<int64_t>(rows.size());
  if (rows.empty()) return found;
  const Rows again(search.queries, rows);
  const RangeSearch scan(again.codes, search.database, radius, search.threads);
  std::vector<int32_t> near(static_cast<size_t>(scan.lims().back()));
  std::vector<int64_t> where(near.size());
  scan.write(near.data(), where.data());
  for (size_t i = 0; i < rows.size(); ++i) {
    auto& keys = found.keys[rows[i]];
    keys.clear();
    for (int64_t at = scan.lims()[i]; at < scan.lims()[i + 1]; ++at) {
      keys.push_back(pair_key(near[at], where[at]));
    }
  }
  return found;
}

template int64_t topk_tables(const TableSearch<uint32_t>&, int64_t, int32_t*, int64_t*);
template int64_t topk_tables(const TableSearch<uint64_t>&, int64_t, int32_t*, int64_t*);
template Found range_tables(const TableSearch<uint32_t>&, int64_t);
template Found range_tables(const TableSearch<uint64_t>&, int64_t);

}  // namespace semicon_fast
