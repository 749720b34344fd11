// Exact Hamming search over packed codes. Nothing here knows torch.
#pragma once

#include <cstdint>
#include <vector>

namespace semicon_fast {

// `count` codes of `bytes` bytes (1..512), one every `stride` bytes.
struct Codes {
  const uint8_t* data;
  int64_t count;
  int64_t bytes;
  int64_t stride;
};

constexpr int64_t kMaxBytes = 512;

// Differing bits of every pair -> distances (Q, N).
void distance(const Codes& queries, const Codes& database, int threads, int32_t* distances);

// The k nearest, ascending by (distance, position) -> distances (Q, k), positions (Q, k);
// 0 <= k <= N.
void topk(const Codes& queries, const Codes& database, int64_t k, int threads, int32_t* distances,
          int64_t* positions);

// How many codes lie at each distance -> counts (Q, 8 * bytes + 1).
void histogram(const Codes& queries, const Codes& database, int threads, int64_t* counts);

// Groups of codes: g is the positions members[lims[g]] to members[lims[g + 1] - 1], ascending.
struct Groups {
  const int64_t* of;       // (Q,): each query's group
  const int64_t* members;
  const int64_t* lims;
};

// The ranks, from 1, that the members of each query's group have among all codes by (distance,
// position), ascending -> ranks: query after query, as many as its group has members.
void ranks(const Codes& queries, const Codes& database, const Groups& groups, int threads,
           int64_t* ranks);

// How many members of its group lie at each distance from a query -> counts (Q, 8 * bytes + 1).
void group_histogram(const Codes& queries, const Codes& database, const Groups& groups,
                     int threads, int64_t* counts);

// Pairs a second that `threads` threads compare where the codes are in the first cache and no pair
// is wanted, over some seconds: the limit that a scan's inner loop sets.
double scan_rate(int64_t bytes, int threads, double seconds);

// Every code within a radius, ascending by (distance, position) within a query.
class Ball {
 public:
  Ball(const Codes& queries, const Codes& database, int64_t radius, int threads);
  // Query q's results are the entries lims()[q] to lims()[q + 1].
  const std::vector<int64_t>& lims() const { return lims_; }
  void write(int32_t* distances, int64_t* positions) const;

 private:
  int64_t bits_;
  int threads_;
  std::vector<int64_t> lims_;                      // (Q + 1,)
  std::vector<std::vector<uint64_t>> found_;       // (Q * ranges): keys in order of position
  int64_t ranges_;
};

}  // namespace semicon_fast
