// Range search: a scan with a constant limit, then a counting sort of the pairs found.
#include <algorithm>
#include <numeric>

#include "hamming/hamming.h"
#include "common/threads.h"
#include "hamming/scan.h"

namespace semicon_fast {
namespace {

constexpr int64_t kGroup = 64;

}  // namespace

RangeSearch::RangeSearch(const Codes& queries, const Codes& database, int64_t radius, int threads)
    : bits_(8 * queries.bytes), lims_(static_cast<size_t>(queries.count + 1)), ranges_(1) {
  const Isa& isa = active_isa();
  const Shape shape(queries.bytes, isa, queries.count);
  threads_ = useful_threads(threads, queries.count * database.count * shape.words);
  const int64_t groups = (queries.count + kGroup - 1) / kGroup;
  if (groups == 0) return;
  const int64_t wanted = threads_ == 1 ? 1 : (4 * threads_ + groups - 1) / groups;
  ranges_ = std::clamp<int64_t>(database.count >> 16, 1, wanted);
  found_.resize(static_cast<size_t>(queries.count * ranges_));
  const auto limit = static_cast<int32_t>(std::min(radius, bits_) + 1);
  parallel(groups * ranges_, threads_, [&](int64_t task) {
    const int64_t start = task / ranges_ * kGroup, range = task % ranges_;
    std::vector<int64_t> rows(static_cast<size_t>(std::min(kGroup, queries.count - start)));
    std::iota(rows.begin(), rows.end(), start);
    const Group group(isa, shape, queries, rows.data(), static_cast<int64_t>(rows.size()));
    Limits limits(group);
    for (int64_t slot = 0; slot < group.size(); ++slot) limits.set(slot, limit);
    limits.update();
    const auto accept = [&](int64_t slot, int64_t distance, int64_t position) {
      found_[(start + slot) * ranges_ + range].push_back(pair_key(distance, position));
    };
    Scan<decltype(accept)> scan(group, accept);
    Blocks blocks(isa, database, shape, database.count * range / ranges_,
                  database.count * (range + 1) / ranges_, shape.block_codes());
    Block block;
    while (blocks.next(&block)) scan(block, limits.tiles());
  });
  for (int64_t row = 0; row < queries.count; ++row) {
    lims_[row + 1] = lims_[row];
    for (int64_t r = 0; r < ranges_; ++r) lims_[row + 1] += found_[row * ranges_ + r].size();
  }
}

void RangeSearch::write(int32_t* distances, int64_t* positions) const {
  const auto queries = static_cast<int64_t>(lims_.size()) - 1;
  parallel(queries, useful_threads(threads_, 8 * lims_.back()), [&](int64_t row) {
    std::vector<int64_t> offsets(static_cast<size_t>(bits_ + 2));
    const auto *const first = &found_[row * ranges_], *const last = first + ranges_;
    for (const auto* keys = first; keys != last; ++keys) {
      for (const uint64_t key : *keys) ++offsets[key_distance(key) + 1];
    }
    offsets[0] = lims_[row];
    std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());
    for (const auto* keys = first; keys != last; ++keys) {
      for (const uint64_t key : *keys) {
        const int64_t place = offsets[key_distance(key)]++;
        distances[place] = static_cast<int32_t>(key_distance(key));
        positions[place] = key_position(key);
      }
    }
  });
}

}  // namespace semicon_fast
