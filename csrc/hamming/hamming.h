// Exact Hamming search over packed codes on the CPU. Does not use torch.
#pragma once

#include <cstdint>
#include <vector>

namespace semicon_fast {

// `count` codes of `bytes` bytes (1..512); code i starts at data + i * stride.
struct Codes {
  const uint8_t* data;
  int64_t count;
  int64_t bytes;
  int64_t stride;
};

constexpr int64_t kMaxBytes = 512;

// Hamming distance of every pair -> distances (Q, N).
void distance(const Codes& queries, const Codes& database, int threads, int32_t* distances);

// The k nearest, ascending by (distance, position) -> distances (Q, k), positions (Q, k);
// 0 <= k <= N.
void topk(const Codes& queries, const Codes& database, int64_t k, int threads, int32_t* distances,
          int64_t* positions);

// Histogram of each query's distances to all codes -> counts (Q, 8 * bytes + 1).
void histogram(const Codes& queries, const Codes& database, int threads, int64_t* counts);

// Groups of codes: group g is the positions members[lims[g]] to members[lims[g + 1] - 1],
// ascending.
struct Groups {
  const int64_t* of;       // (Q,): each query's group
  const int64_t* members;
  const int64_t* lims;
};

// Ranks, from 1, of the members of each query's group among all codes by (distance, position) ->
// ranks, query after query: one for each member of the query's group, ascending.
void ranks(const Codes& queries, const Codes& database, const Groups& groups, int threads,
           int64_t* ranks);

// Histogram of each query's distances to its group's members -> counts (Q, 8 * bytes + 1).
void group_histogram(const Codes& queries, const Codes& database, const Groups& groups,
                     int threads, int64_t* counts);

// Pairs per second that `threads` threads compare when the codes are in the L1 cache and no pair is
// within its limit, measured for `seconds`: the bound set by the inner loop of a scan. A search is
// faster than it where distances are left off half way because they are beyond the limit already.
double scan_rate(int64_t bytes, int threads, double seconds);

// Range search: every code within a radius, ascending by (distance, position) within a query.
class RangeSearch {
 public:
  RangeSearch(const Codes& queries, const Codes& database, int64_t radius, int threads);
  // Query q's results are the entries lims()[q] to lims()[q + 1].
  const std::vector<int64_t>& lims() const { return lims_; }
  void write(int32_t* distances, int64_t* positions) const;

 private:
  int64_t bits_;
  int threads_;
  std::vector<int64_t> lims_;                      // (Q + 1,)
  std::vector<std::vector<uint64_t>> found_;       // (Q * ranges): pair keys in order of position
  int64_t ranges_;
};

}  // namespace semicon_fast
