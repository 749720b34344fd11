// Asymmetric search. Each query keeps the best codes so far, from which the least score follows
// that a later code must have. A kernel finds the codes whose score may be that large, from sums in
// whole steps (see score_tables.h); their scores are then computed exactly.
#include "scores/scores.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <mutex>
#include <vector>

#include "common/threads.h"
#include "scores/score_kernels.h"
#include "scores/score_tables.h"

namespace semicon_fast {
namespace {

constexpr int64_t kGroup = 64;                      // queries that share a block in cache
constexpr int64_t kStateBytes = int64_t{64} << 20;  // kept codes of a group's queries, per range
constexpr int64_t kBlockBytes = 8 << 10;            // codes of a block, within the L1 cache
constexpr int64_t kRange = 1 << 16;                 // smallest number of codes per task
constexpr float kNone = -std::numeric_limits<float>::infinity();

struct Hit {
  float score;
  int64_t position;
};

bool better(const Hit& a, const Hit& b) {
  return a.score != b.score ? a.score > b.score : a.position < b.position;
}

// The k best of the codes offered so far; codes are offered in order of position.
class Best {
 public:
  Best(int64_t k, float least) : k_(static_cast<size_t>(k)), least_(least) {}

  // The least score with which a later code is among the k best.
  float least() const { return least_; }
  void offer(float score, int64_t position) {
    if (score < least_) return;
    hits_.push_back({score, position});
    if (hits_.size() >= k_ + std::max<size_t>(64, k_ / 4)) prune();
  }
  // Raises the least score if that is worth the time.
  void tighten() {
    if (hits_.size() > k_ + k_ / 8 || (hits_.size() >= k_ && least_ == kNone)) prune();
  }
  std::vector<Hit> take() {
    if (hits_.size() > k_) prune();
    return std::move(hits_);
  }

 private:
  void prune() {
    const auto kth = hits_.begin() + static_cast<int64_t>(k_) - 1;
    std::nth_element(hits_.begin(), kth, hits_.end(), better);
    // Of two codes with the same score the earlier one is better.
    least_ = std::max(least_, std::nextafter(kth->score, std::numeric_limits<float>::infinity()));
    hits_.resize(k_);
  }

  size_t k_;
  float least_;
  std::vector<Hit> hits_;
};

class ScoreTopK {
 public:
  ScoreTopK(const Outputs& outputs, const Codes& database, int64_t k, int threads, float* scores,
            int64_t* positions)
      : kernel_(score_kernel()),
        outputs_(outputs),
        database_(database),
        k_(k),
        threads_(useful_threads(threads, outputs.count * database.count * ((database.bytes + 7) / 8))),
        scores_(scores),
        positions_(positions) {
    const int64_t kept = static_cast<int64_t>(sizeof(Hit)) * (k + std::max<int64_t>(64, k / 4));
    group_ = std::clamp<int64_t>(kStateBytes / kept / kScoreQueries * kScoreQueries, 1, kGroup);
  }

  void run() {
    const int64_t groups = (outputs_.count + group_ - 1) / group_;
    const int64_t wanted = threads_ == 1 ? 1 : (4 * threads_ + groups - 1) / groups;
    const int64_t ranges = std::clamp<int64_t>(database_.count / kRange, 1, wanted);
    std::vector<Work> work(static_cast<size_t>(groups));
    for (int64_t g = 0; g < groups; ++g) {
      work[g].first = g * group_;
      work[g].count = std::min(group_, outputs_.count - work[g].first);
      work[g].pending = ranges;
      work[g].least.assign(static_cast<size_t>(work[g].count), kNone);
      work[g].hits.resize(static_cast<size_t>(work[g].count));
    }
    parallel(groups * ranges, threads_, [&](int64_t task) {
      const int64_t range = task % ranges;
      Work& w = work[task / ranges];
      if (finish(w, scan(w, database_.count * range / ranges, database_.count * (range + 1) / ranges))) {
        for (int64_t i = 0; i < w.count; ++i) write(w.hits[i], w.first + i);
        w.hits.clear();
        w.hits.shrink_to_fit();
      }
    });
  }

 private:
  // Queries first..first + count - 1, and the results of the ranges that are finished.
  struct Work {
    int64_t first, count;
    std::mutex changing;  // guards the members below
    int64_t pending;
    std::vector<float> least;            // (count,): the k best have at least these scores
    std::vector<std::vector<Hit>> hits;  // (count,)
  };

  // The k best of the codes first..last - 1 for each query.
  std::vector<Best> scan(Work& work, int64_t first, int64_t last) const {
    std::vector<ScoreTables> tables;
    std::vector<Best> best;
    {
      const std::lock_guard<std::mutex> guard(work.changing);
      for (int64_t i = 0; i < work.count; ++i) best.emplace_back(k_, work.least[i]);
    }
    std::vector<ScoreQuery> queries;
    for (int64_t i = 0; i < work.count; ++i) {
      const float* const row = outputs_.data + (work.first + i) * outputs_.stride;
      tables.emplace_back(row, outputs_.bits, database_.bytes);
      queries.push_back(tables[i].query(best[i].least()));
    }
    const int64_t block = std::max(kBlockBytes / database_.bytes / kStrip, int64_t{1}) * kStrip;
    std::vector<uint8_t> columns(static_cast<size_t>(block * database_.bytes));
    std::vector<uint64_t> masks(static_cast<size_t>(kScoreQueries * block / kStrip));
    // Blocks grow from one strip, so that little is read before there are useful limits.
    int64_t size = kStrip;
    for (int64_t at = first; at < last; at += size, size = std::min(2 * size, block)) {
      size = std::min(size, block);
      const int64_t count = std::min(size, last - at), strips = (count + kStrip - 1) / kStrip;
      score_columns(database_, at, count, columns.data());
      for (int64_t i = 0; i < work.count;) {
        const int together = work.count - i >= kScoreQueries ? kScoreQueries : 1;
        kernel_.find(columns.data(), strips, database_.bytes, &queries[i], together, masks.data());
        for (int64_t end = i + together, m = 0; i < end; ++i, m += strips) {
          if (!collect(&masks[m], at, count, tables[i], best[i])) continue;
          const float before = best[i].least();
          best[i].tighten();
          if (best[i].least() != before) queries[i] = tables[i].query(best[i].least());
        }
      }
    }
    return best;
  }

  // Offers the codes of a block that the kernel found; false if there are none.
  bool collect(const uint64_t* masks, int64_t first, int64_t count, const ScoreTables& tables,
               Best& best) const {
    bool found = false;
    for (int64_t at = 0; at < count; at += kStrip) {
      uint64_t mask = masks[at / kStrip];
      if (count - at < kStrip) mask &= (uint64_t{1} << (count - at)) - 1;
      found |= mask != 0;
      for (; mask; mask &= mask - 1) {
        const int64_t position = first + at + __builtin_ctzll(mask);
        best.offer(tables.score(database_.data + position * database_.stride), position);
      }
    }
    return found;
  }

  // Adds the results of a range; true if it was the last one.
  bool finish(Work& work, std::vector<Best> best) const {
    const std::lock_guard<std::mutex> guard(work.changing);
    for (int64_t i = 0; i < work.count; ++i) {
      const std::vector<Hit> hits = best[i].take();
      work.hits[i].insert(work.hits[i].end(), hits.begin(), hits.end());
      if (static_cast<int64_t>(hits.size()) < k_) continue;
      const Hit worst = *std::max_element(hits.begin(), hits.end(), better);
      work.least[i] = std::max(work.least[i], worst.score);
    }
    return --work.pending == 0;
  }

  void write(std::vector<Hit>& hits, int64_t row) const {
    std::partial_sort(hits.begin(), hits.begin() + k_, hits.end(), better);
    for (int64_t i = 0; i < k_; ++i) {
      scores_[row * k_ + i] = hits[i].score;
      positions_[row * k_ + i] = hits[i].position;
    }
  }

  const ScoreKernel& kernel_;
  Outputs outputs_;
  Codes database_;
  int64_t k_, group_;
  int threads_;
  float* scores_;
  int64_t* positions_;
};

}  // namespace

void score_topk(const Outputs& outputs, const Codes& database, int64_t k, int threads,
                float* scores, int64_t* positions) {
  if (outputs.count == 0 || k == 0) return;
  ScoreTopK(outputs, database, k, threads, scores, positions).run();
}

}  // namespace semicon_fast
