// Looks up a query's pieces in the tables, radius by radius.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "common/threads.h"
#include "tables/tables.h"
#include "tables/tables_kernels.h"
#include "tables/tables_words.h"

namespace semicon_fast {

// How many sets of `radius` of `bits` bits there are; 0 beyond the bits.
inline double subsets(int64_t bits, int64_t radius) {
  double count = radius <= bits ? 1 : 0;
  for (int64_t i = 0; i < radius && i < bits; ++i) {
    count = count * static_cast<double>(bits - i) / static_cast<double>(i + 1);
  }
  return count;
}

// Enumerates the sets of `radius` of `numbers` (at most kMaxPieceBits), as their exclusive ors.
class Subsets {
 public:
  Subsets(const std::vector<uint32_t>& numbers, int64_t radius)
      : numbers_(numbers.data()), size_(static_cast<int64_t>(numbers.size())), radius_(radius) {
    for (int64_t i = 0; i < radius; ++i) chosen_[i] = i;
    combine(0);
    more_ = radius <= size_;
  }

  // Writes up to `room` more; returns how many, 0 at the end.
  int64_t next(int64_t room, uint32_t* combined) {
    int64_t written = 0;
    while (more_ && written < room) {
      combined[written++] = partial_[radius_];
      advance();
    }
    return written;
  }

 private:
  void advance() {
    int64_t at = radius_ - 1;
    while (at >= 0 && chosen_[at] == size_ - radius_ + at) --at;
    more_ = at >= 0;
    if (!more_) return;
    ++chosen_[at];
    for (int64_t i = at + 1; i < radius_; ++i) chosen_[i] = chosen_[i - 1] + 1;
    combine(at);
  }
  // Recomputes the exclusive ors of the first i + 1 chosen, from i = first on.
  void combine(int64_t first) {
    for (int64_t i = first; i < radius_ && chosen_[i] < size_; ++i) {
      partial_[i + 1] = partial_[i] ^ numbers_[chosen_[i]];
    }
  }

  const uint32_t* numbers_;
  int64_t size_, radius_;
  bool more_;
  int64_t chosen_[kMaxPieceBits + 1];
  uint32_t partial_[kMaxPieceBits + 2] = {0};
};

// The tables of a search and one query at a time. One for each thread: copies share nothing that
// changes.
template <class Index>
class Probe {
 public:
  explicit Probe(const TableSearch<Index>& search)
      : search_(search),
        near_(kernel()),
        words_(static_cast<size_t>(word_count(search.queries.bytes))),
        base_(search.tables.size()),
        done_(search.tables.size()) {
    for (const auto& table : search.tables) addresses_.emplace_back(table.piece);
  }

  void start(int64_t query) {
    const Codes& queries = search_.queries;
    const uint8_t* code = queries.data + query * queries.stride;
    load_words(code, queries.bytes, words_.data());
    for (size_t t = 0; t < base_.size(); ++t) base_[t] = addresses_[t].of(code);
    std::fill(done_.begin(), done_.end(), 0);
    work_ = 0;
  }

  const uint64_t* words() const { return words_.data(); }

  // Every code up to this distance has been found.
  int64_t certificate() const { return certificate_of(done_); }

  // The expected work until the certificate reaches `radius`, if codes are spread evenly over the
  // addresses. done: radii that have been looked up, for each table.
  double expected(int64_t radius, std::vector<int64_t> done) const {
    double sum = 0;
    while (certificate_of(done) < radius) {
      const size_t t = cheapest(done);
      sum += cost(t, done[t]++);
    }
    return sum;
  }
  double cost(size_t table, int64_t radius) const {
    const Piece& piece = search_.tables[table].piece;
    const auto share = static_cast<double>(int64_t{1} << piece.address_bits);
    return subsets(piece.bits, radius) * (1 + static_cast<double>(search_.database.count) / share);
  }

  // Looks up the radius that raises the certificate by one at the least cost. Calls
  // accept(position, distance) for codes found at distance <= most(). Returns false if the limit of
  // work is reached: then some may be missing.
  template <class Most, class Accept>
  bool widen(const Most& most, const Accept& accept) {
    // As many steps ahead as there are tables: one radius of all. Giving up between two radii
    // wastes less than giving up within one.
    const auto tables = static_cast<int64_t>(done_.size());
    const int64_t ahead = std::min<int64_t>(most() - certificate(), tables);
    if (work_ + expected(certificate() + ahead, done_) > search_.limit) return false;
    const size_t table = cheapest(done_);
    const bool within = look_up(table, done_[table], search_.limit, [&](const Index* p, int64_t n) {
      uint32_t places[kBuffer + 1];
      uint16_t distances[kBuffer + 1];
      const int64_t found = near_(search_.database, words_.data(), p, n, most(), places, distances);
      for (int64_t i = 0; i < found; ++i) {
        accept(static_cast<int64_t>(p[places[i]]), static_cast<int64_t>(distances[i]));
      }
    });
    ++done_[table];
    return within;
  }

  // Calls take(positions, count) for all codes of a table whose piece differs in `radius` bits, and
  // others at the same addresses. Returns false if that takes more work than the limit.
  template <class Take>
  bool look_up(size_t table, int64_t radius, double limit, const Take& take) {
    const Table<Index>& at = search_.tables[table];
    const auto count = static_cast<Index>(search_.database.count);
    Subsets flips(addresses_[table].numbers(), radius);
    uint32_t addresses[kBatch];
    Index starts[kBatch], ends[kBatch];
    int64_t held = 0;
    while (const int64_t size = flips.next(kBatch, addresses)) {
      for (int64_t i = 0; i < size; ++i) {
        addresses[i] ^= base_[table];
        __builtin_prefetch(at.offsets + addresses[i]);
      }
      work_ += static_cast<double>(size);
      for (int64_t i = 0; i < size; ++i) {
        starts[i] = at.offsets[addresses[i]];
        ends[i] = at.offsets[addresses[i] + 1];
        // A damaged file may hold anything.
        if (starts[i] > ends[i] || ends[i] > count) starts[i] = ends[i] = 0;
        if (starts[i] < ends[i]) __builtin_prefetch(at.positions + starts[i]);
        work_ += static_cast<double>(ends[i] - starts[i]);
      }
      if (work_ > limit) return false;
      for (int64_t i = 0; i < size; ++i) {
        for (Index place = starts[i]; place < ends[i]; ++place) {
          const Index position = at.positions[place];
          if (position >= count) continue;
          prefetch(position);
          held_[held++] = position;
          if (held < kBuffer) continue;
          take(held_, held);
          held = 0;
        }
      }
    }
    if (held) take(held_, held);
    return true;
  }

 private:
  static constexpr int64_t kBatch = 64;    // addresses looked up together
  static constexpr int64_t kBuffer = 256;  // codes compared together: their cache lines fit L1

  static auto kernel() {
    if constexpr (sizeof(Index) == 4) {
      return table_kernels().near32;
    } else {
      return table_kernels().near64;
    }
  }

  int64_t certificate_of(const std::vector<int64_t>& done) const {
    int64_t sum = 0;
    for (size_t t = 0; t < done.size(); ++t) {
      // All values of a piece have been looked up, and so all codes found.
      if (done[t] > search_.tables[t].piece.bits) return std::numeric_limits<int64_t>::max();
      sum += done[t];
    }
    return sum - 1;
  }
  size_t cheapest(const std::vector<int64_t>& done) const {
    size_t best = 0;
    double least = std::numeric_limits<double>::infinity();
    for (size_t t = 0; t < done.size(); ++t) {
      const double next = cost(t, done[t]);
      if (next < least) best = t, least = next;
    }
    return best;
  }
  void prefetch(Index position) const {
    const Codes& codes = search_.database;
    const uint8_t* code = codes.data + static_cast<int64_t>(position) * codes.stride;
    for (int64_t b = 0; b < codes.bytes; b += 64) __builtin_prefetch(code + b);
  }

  const TableSearch<Index>& search_;
  decltype(kernel()) near_;
  std::vector<Addresses> addresses_;
  std::vector<uint64_t> words_;
  std::vector<uint32_t> base_;
  std::vector<int64_t> done_;  // radii looked up, for each table
  double work_ = 0;
  Index held_[kBuffer];
};

// Calls run(probe, query) for each query, on several threads where the work of a query, as
// estimated, is worth it; each thread has its own Probe.
template <class Index, class Run>
void each_query(const TableSearch<Index>& search, double work, const Run& run) {
  const int64_t queries = search.queries.count;
  // A cache miss takes some ten times as long as a pair of words in a scan.
  const double pairs = 16 * work * static_cast<double>(queries);
  const int threads = useful_threads(search.threads, static_cast<int64_t>(std::min(pairs, 1e15)));
  const Probe<Index> prepared(search);
  std::atomic<int64_t> next{0};
  parallel(std::min<int64_t>(threads, queries), threads, [&](int64_t) {
    Probe<Index> probe(prepared);
    for (int64_t query = next++; query < queries; query = next++) {
      probe.start(query);
      run(probe, query);
    }
  });
}

}  // namespace semicon_fast
