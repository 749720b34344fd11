// The k nearest. Each query has a histogram of the distances accepted so far, from which its limit
// follows: codes are accepted if their distance is below the limit. Later codes must be strictly
// nearer, so ties are broken by position. With many queries, initial limits are first estimated
// from a sample of the database; a query whose estimate was too small is searched again without
// one.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <mutex>
#include <numeric>

#include "hamming/hamming.h"
#include "common/threads.h"
#include "hamming/rank.h"
#include "hamming/repeats.h"
#include "hamming/scan.h"

namespace semicon_fast {
namespace {

constexpr int64_t kGroup = 64;                      // queries that share a block in cache
constexpr int64_t kStateBytes = int64_t{32} << 20;  // accepted codes of a group, per thread
constexpr int64_t kFirstBlock = 128;
constexpr int64_t kSample = 16384;  // smallest size of the sample; four times as large for large k
constexpr int64_t kSampleQueries = 16;  // with fewer queries the sample's cache misses do not pay
constexpr int64_t kRange = 1 << 16;     // smallest number of codes per task
// A scan for this many queries, times words per code, costs as much as finding the distinct codes.
constexpr int64_t kWorthRepeats = 128;

// The k nearest of the codes offered so far; codes are offered in order of position.
class Nearest {
 public:
  Nearest(int64_t k, int64_t bits, int32_t limit)
      : k_(k), limit_(limit), counts_(static_cast<size_t>(bits + 1)) {
    keys_.reserve(static_cast<size_t>(std::min<int64_t>(2 * k + kFirstBlock, 512)));
  }

  void offer(int64_t distance, int64_t position) {
    keys_.push_back(pair_key(distance, position));
    ++counts_[distance];
    ++below_;
  }
  // Lowers and returns the limit: a later code is among the k nearest only at a smaller distance.
  int32_t tighten() {
    while (below_ >= k_) below_ -= counts_[--limit_];
    if (static_cast<int64_t>(keys_.size()) > 2 * k_ + kFirstBlock) prune();
    return limit_;
  }
  // Number of accepted codes at this distance, which must be below the limit.
  int64_t at(int64_t distance) const { return counts_[distance]; }
  // At most k keys, in order of position.
  std::vector<uint64_t> take() {
    prune();
    return std::move(keys_);
  }

 private:
  void prune() {
    int64_t ties = k_ - below_;
    size_t kept = 0;
    for (const uint64_t key : keys_) {
      const int64_t distance = key_distance(key);
      if (distance < limit_ || (distance == limit_ && ties-- > 0)) keys_[kept++] = key;
    }
    keys_.resize(kept);
  }

  int64_t k_;
  int64_t below_ = 0;  // accepted codes with distance < limit_: fewer than k after tighten()
  int32_t limit_;
  std::vector<int64_t> counts_;
  std::vector<uint64_t> keys_;
};

// The k nearest of the codes first..last - 1 for each slot; limits: the initial limit of each slot.
std::vector<Nearest> scan_range(const Group& group, const Codes& database, int64_t k,
                                const int32_t* limits, int64_t first, int64_t last) {
  const Shape& shape = group.shape();
  std::vector<Nearest> nearest;
  nearest.reserve(static_cast<size_t>(group.size()));
  Limits open(group);
  for (int64_t slot = 0; slot < group.size(); ++slot) {
    nearest.emplace_back(k, shape.bits(), limits[slot]);
    open.set(slot, limits[slot]);
  }
  const auto accept = [&](int64_t slot, int64_t distance, int64_t position) {
    nearest[slot].offer(distance, position);
  };
  Scan<decltype(accept)> scan(group, accept);
  Blocks blocks(group.isa(), database, shape, first, last, kFirstBlock);
  Block block;
  while (open.update() && blocks.next(&block)) {
    scan(block, open.tiles());
    for (int64_t slot = 0; slot < group.size(); ++slot) open.set(slot, nearest[slot].tighten());
  }
  return nearest;
}

class TopK {
 public:
  TopK(const Codes& queries, const Codes& database, int64_t k, int threads, int32_t* distances,
       int64_t* positions)
      : isa_(active_isa()),
        shape_(queries.bytes, isa_, queries.count),
        queries_(queries),
        database_(database),
        k_(k),
        threads_(useful_threads(threads, queries.count * database.count * shape_.words)),
        distances_(distances),
        positions_(positions),
        limits_(static_cast<size_t>(queries.count), static_cast<int32_t>(shape_.bits() + 1)),
        equals_(static_cast<size_t>(queries.count)) {
    const int64_t state = 8 * (2 * k + shape_.block_codes() + shape_.bits());
    group_ = std::clamp<int64_t>(kStateBytes / state / kTile * kTile, 1, kGroup);
  }

  void run() {
    std::vector<int64_t> rows(static_cast<size_t>(queries_.count));
    std::iota(rows.begin(), rows.end(), int64_t{0});
    estimate(rows);
    search_repeats(rows);
    if (rows.empty()) return;
    std::vector<int64_t> again = search(rows);
    for (const int64_t row : again) limits_[row] = static_cast<int32_t>(shape_.bits() + 1);
    if (!again.empty()) search(again);
  }

 private:
  // Estimates limits from a sample of the database and sorts `rows` by them, so that the queries of
  // a tile have similar limits.
  void estimate(std::vector<int64_t>& rows) {
    const int64_t size = std::min(database_.count / 32, std::clamp(64 * k_, kSample, 4 * kSample));
    if (queries_.count < kSampleQueries || size < 512) return;
    const int64_t every = database_.count / size;
    const int64_t bytes = database_.bytes;
    std::vector<uint8_t> copy(static_cast<size_t>(size * bytes));
    for (int64_t i = 0; i < size; ++i) {
      __builtin_prefetch(database_.data + std::min(i + 32, size - 1) * every * database_.stride);
      std::memcpy(&copy[i * bytes], database_.data + i * every * database_.stride, bytes);
    }
    const Codes sample{copy.data(), size, bytes, bytes};
    const double expected = static_cast<double>(k_) * size / database_.count;
    // Poisson: with probability above 1 - 1e-4 at least k codes are as near as the sample's
    // rank-th.
    const auto rank = static_cast<int64_t>(std::ceil(expected + 3.5 * std::sqrt(expected) + 4));
    if (rank > size) return;
    const int64_t groups = (queries_.count + kGroup - 1) / kGroup;
    parallel(groups, threads_, [&](int64_t g) {
      const int64_t first = g * kGroup, count = std::min(kGroup, queries_.count - first);
      const Group group(isa_, shape_, queries_, rows.data() + first, count);
      auto nearest = scan_range(group, sample, rank, &limits_[first], 0, size);
      // tighten() returns the rank-th smallest distance; codes at that distance must be accepted.
      for (int64_t i = 0; i < count; ++i) {
        limits_[first + i] = nearest[i].tighten() + 1;
        equals_[first + i] = static_cast<double>(nearest[i].at(0)) > expected;
      }
    });
    std::stable_sort(rows.begin(), rows.end(),
                     [&](int64_t a, int64_t b) { return limits_[a] < limits_[b]; });
  }

  // If there are few distinct codes, searches those for the queries that would not end early and
  // writes their results; only the other queries remain in `rows`.
  void search_repeats(std::vector<int64_t>& rows) const {
    std::vector<int64_t> slow, fast;
    for (const int64_t row : rows) (equals_[row] ? fast : slow).push_back(row);
    const bool worth = static_cast<int64_t>(slow.size()) * shape_.words >= kWorthRepeats;
    if (!worth || !Repeats::likely(database_)) return;
    const Repeats repeats(database_, k_, threads_);
    if (!repeats.found()) return;
    repeats.topk(queries_, slow, threads_, distances_, positions_);
    rows = std::move(fast);
  }

  // A group of queries and the results of the database ranges that are finished.
  struct Work {
    std::unique_ptr<Group> group;
    std::vector<std::vector<uint64_t>> keys;  // (ranges * slots)
    std::mutex changing;                      // guards the members below
    int64_t pending = 0;
    std::vector<int32_t> limits;  // (slots,)
    std::vector<int64_t> counts;  // (slots, bits + 1): histograms of all keys
  };

  // Writes the results of the queries `rows`; returns those whose initial limit was too small.
  std::vector<int64_t> search(const std::vector<int64_t>& rows) {
    const auto count = static_cast<int64_t>(rows.size());
    const int64_t groups = (count + group_ - 1) / group_;
    const int64_t wanted = threads_ == 1 ? 1 : (4 * threads_ + groups - 1) / groups;
    const int64_t ranges = std::clamp<int64_t>(database_.count / kRange, 1, wanted);
    std::vector<Work> work(static_cast<size_t>(groups));
    for (int64_t g = 0; g < groups; ++g) prepare(work[g], rows, g, ranges);
    std::vector<uint8_t> complete(static_cast<size_t>(count));
    parallel(groups * ranges, threads_, [&](int64_t task) {
      Work& w = work[task / ranges];
      const int64_t range = task % ranges, size = w.group->size();
      const int64_t first = database_.count * range / ranges;
      const int64_t last = database_.count * (range + 1) / ranges;
      std::unique_lock<std::mutex> lock(w.changing);
      const std::vector<int32_t> limits = w.limits;
      lock.unlock();
      auto nearest = scan_range(*w.group, database_, k_, limits.data(), first, last);
      for (int64_t i = 0; i < size; ++i) w.keys[range * size + i] = nearest[i].take();
      lock.lock();
      if (ranges > 1) learn(w, range);
      const bool done = --w.pending == 0;
      lock.unlock();
      if (done) {
        const int64_t start = task / ranges * group_;
        for (int64_t i = 0; i < size; ++i) complete[start + i] = merge(w, i, rows[start + i]);
        w.keys.clear();
        w.keys.shrink_to_fit();
      }
    });
    std::vector<int64_t> again;
    for (int64_t i = 0; i < count; ++i) {
      if (!complete[i]) again.push_back(rows[i]);
    }
    return again;
  }

  void prepare(Work& work, const std::vector<int64_t>& rows, int64_t g, int64_t ranges) const {
    const int64_t first = g * group_;
    const int64_t size = std::min(group_, static_cast<int64_t>(rows.size()) - first);
    work.group = std::make_unique<Group>(isa_, shape_, queries_, rows.data() + first, size);
    for (int64_t i = 0; i < size; ++i) work.limits.push_back(limits_[rows[first + i]]);
    work.keys.resize(static_cast<size_t>(ranges * size));
    work.counts.resize(static_cast<size_t>(size * (shape_.bits() + 1)));
    work.pending = ranges;
  }

  // Lowers the limits of the other ranges: once k codes lie within a distance, none needs to be
  // farther. Codes at that distance are still accepted, since they may have smaller positions.
  void learn(Work& work, int64_t range) const {
    const int64_t size = work.group->size(), width = shape_.bits() + 1;
    for (int64_t i = 0; i < size; ++i) {
      int64_t* const counts = &work.counts[i * width];
      for (const uint64_t key : work.keys[range * size + i]) ++counts[key_distance(key)];
      int64_t seen = 0;
      for (int32_t distance = 0; distance + 1 < work.limits[i]; ++distance) {
        seen += counts[distance];
        if (seen >= k_) work.limits[i] = distance + 1;
      }
    }
  }

  // Writes a query's result by a stable counting sort by distance, since ranges and the keys within
  // each are in order of position. Returns false if fewer than k codes were found.
  bool merge(const Work& work, int64_t slot, int64_t row) const {
    const int64_t size = work.group->size(), bits = shape_.bits();
    std::vector<int64_t> offsets(static_cast<size_t>(bits + 2));
    int64_t total = 0;
    for (size_t i = slot; i < work.keys.size(); i += size) {
      for (const uint64_t key : work.keys[i]) ++offsets[key_distance(key) + 1];
      total += static_cast<int64_t>(work.keys[i].size());
    }
    if (total < k_) return false;
    std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());
    for (size_t i = slot; i < work.keys.size(); i += size) {
      for (const uint64_t key : work.keys[i]) {
        const int64_t place = offsets[key_distance(key)]++;
        if (place >= k_) continue;
        distances_[row * k_ + place] = static_cast<int32_t>(key_distance(key));
        positions_[row * k_ + place] = key_position(key);
      }
    }
    return true;
  }

  const Isa& isa_;
  Shape shape_;
  Codes queries_, database_;
  int64_t k_, group_;
  int threads_;
  int32_t* distances_;
  int64_t* positions_;
  std::vector<int32_t> limits_;  // (Q,): initial limits
  std::vector<uint8_t> equals_;  // (Q,): whether, judged by the sample, k codes equal the query, so
                                 // that its search ends early
};

}  // namespace

void topk(const Codes& queries, const Codes& database, int64_t k, int threads, int32_t* distances,
          int64_t* positions) {
  if (queries.count == 0 || k == 0) return;
  // For few codes, or a large part of all, a counting sort of all distances is faster.
  if (database.count <= 2048 || k > database.count / 16) {
    return rank(queries, database, k, threads, distances, positions);
  }
  TopK(queries, database, k, threads, distances, positions).run();
}

}  // namespace semicon_fast
