// Joins buckets of tables with each other: all pairs within a radius, and what they connect.
#include "tables/tables_pairs.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <utility>

#include "common/threads.h"
#include "tables/tables_kernels.h"
#include "tables/tables_probe.h"
#include "tables/tables_words.h"

namespace semicon_fast {
namespace {

constexpr int64_t kTask = 1024;   // codes of a task
constexpr int64_t kRows = 2048;   // codes compared with each code of a task in turn: they fit L1

// The codes of a table, bucket after bucket, as words.
struct Buckets {
  Piece piece;
  int64_t words;
  std::vector<uint64_t> offsets, positions, rows;

  Buckets(const Codes& codes, const Piece& piece_, int threads)
      : piece(piece_),
        words(word_count(codes.bytes)),
        offsets((size_t{1} << piece_.address_bits) + 1),
        positions(static_cast<size_t>(codes.count)),
        rows(static_cast<size_t>(codes.count * words)) {
    if (piece.bits == 0) {
      offsets[1] = static_cast<uint64_t>(codes.count);
      for (size_t i = 0; i < positions.size(); ++i) positions[i] = i;
    } else {
      build_table(codes, piece, threads, offsets.data(), positions.data());
    }
    const int64_t tasks = (codes.count + kTask - 1) / kTask;
    parallel(tasks, useful_threads(threads, codes.count), [&](int64_t task) {
      const int64_t end = std::min(codes.count, (task + 1) * kTask);
      for (int64_t i = task * kTask; i < end; ++i) {
        const auto position = static_cast<int64_t>(positions[i]);
        load_words(codes.data + position * codes.stride, codes.bytes, &rows[i * words]);
      }
    });
  }
  const uint64_t* row(int64_t place) const { return &rows[place * words]; }
};

// Calls accept(place, other, distance) for codes in first..last - 1 and in start..end - 1 within
// the radius; `other` is behind `place` if the ranges overlap.
template <class Accept>
void join(const Buckets& at, int64_t first, int64_t last, int64_t start, int64_t end,
          int64_t radius, const Accept& accept) {
  uint32_t places[kRows];
  uint16_t distances[kRows];
  const auto& kernels = table_kernels();
  for (int64_t tile = start; tile < end; tile += kRows) {
    const int64_t stop = std::min(end, tile + kRows);
    for (int64_t i = first; i < last; ++i) {
      const int64_t from = i >= start && i < end ? std::max(tile, i + 1) : tile;
      if (from >= stop) continue;
      const int64_t found =
          kernels.rows(at.row(i), at.row(from), stop - from, at.words, radius, places, distances);
      for (int64_t f = 0; f < found; ++f) accept(i, from + places[f], distances[f]);
    }
  }
}

// One step for the codes at places first..last - 1.
template <class Accept>
void join_task(const Buckets& at, const std::vector<uint32_t>& flips, int64_t first, int64_t last,
               int64_t radius, const Accept& accept) {
  auto address = std::upper_bound(at.offsets.begin(), at.offsets.end(), first) -
                 at.offsets.begin() - 1;
  for (int64_t place = first; place < last; ++address) {
    const int64_t end = static_cast<int64_t>(at.offsets[address + 1]);
    const int64_t until = std::min(last, end);
    if (until == place) continue;
    for (const uint32_t flip : flips) {
      const auto other = static_cast<uint32_t>(address) ^ flip;
      if (other < address) continue;  // joined from there
      const auto start = static_cast<int64_t>(at.offsets[other]);
      join(at, place, until, start, static_cast<int64_t>(at.offsets[other + 1]), radius, accept);
    }
    place = until;
  }
}

// Calls each(task, run) for every step, where run(accept) joins the codes of a task and calls
// accept(first, second, distance) for pairs that no step before has found. Stops if each returns
// false.
template <class Each>
void join_all(const Codes& codes, const std::vector<JoinStep>& steps, int64_t radius, int threads,
              const Each& each) {
  std::unique_ptr<Buckets> at;
  std::atomic<bool> stopped{false};
  for (size_t s = 0; s < steps.size() && !stopped; ++s) {
    const Piece& piece = steps[s].piece;
    if (!at || at->piece.first != piece.first || at->piece.bits != piece.bits) {
      at.reset();
      at = std::make_unique<Buckets>(codes, piece, threads);
    }
    std::vector<uint32_t> numbers, flips(static_cast<size_t>(subsets(piece.bits, steps[s].radius)));
    for (int64_t bit = 0; bit < piece.bits; ++bit) numbers.push_back(uint32_t{1} << bit);
    Subsets(numbers, steps[s].radius).next(static_cast<int64_t>(flips.size()), flips.data());
    const auto known = [&](const uint64_t* a, const uint64_t* b) {
      const auto before = steps.begin() + static_cast<int64_t>(s);
      return std::any_of(steps.begin(), before, [&](const JoinStep& step) {
        return piece_difference(a, b, step.piece.first, step.piece.bits) == step.radius;
      });
    };
    parallel((codes.count + kTask - 1) / kTask, threads, [&](int64_t task) {
      if (stopped) return;
      const auto run = [&](const auto& accept) {
        const int64_t last = std::min(codes.count, (task + 1) * kTask);
        join_task(*at, flips, task * kTask, last, radius, [&](int64_t i, int64_t j, int32_t d) {
          if (known(at->row(i), at->row(j))) return;
          const auto a = static_cast<int64_t>(at->positions[i]);
          const auto b = static_cast<int64_t>(at->positions[j]);
          accept(std::min(a, b), std::max(a, b), d);
        });
      };
      if (!each(run)) stopped = true;
    });
  }
}

// Sets that several threads join (Anderson and Woll, "Wait-free parallel algorithms for the
// union-find problem", 1991): the root of a set is its smallest member.
class Components {
 public:
  explicit Components(int64_t count) : parents_(static_cast<size_t>(count)) {
    for (int64_t i = 0; i < count; ++i) parents_[i].store(i, std::memory_order_relaxed);
  }
  int64_t root(int64_t i) {
    for (;;) {
      int64_t parent = parents_[i].load(std::memory_order_relaxed);
      if (parent == i) return i;
      const int64_t above = parents_[parent].load(std::memory_order_relaxed);
      // Halves the path; it does not matter if another thread was faster.
      parents_[i].compare_exchange_weak(parent, above, std::memory_order_relaxed);
      i = above;
    }
  }
  void unite(int64_t a, int64_t b) {
    for (;;) {
      a = root(a), b = root(b);
      if (a == b) return;
      if (a < b) std::swap(a, b);
      int64_t expected = a;
      if (parents_[a].compare_exchange_strong(expected, b, std::memory_order_relaxed)) return;
    }
  }

 private:
  std::vector<std::atomic<int64_t>> parents_;
};

}  // namespace

bool close_pairs(const Codes& codes, const std::vector<JoinStep>& steps, int64_t radius,
                 int64_t most, int threads, std::vector<ClosePair>* pairs) {
  std::mutex mutex;
  std::atomic<int64_t> count{0};
  join_all(codes, steps, radius, threads, [&](const auto& run) {
    std::vector<ClosePair> found;
    int64_t uncounted = 0;
    const auto add_up = [&] { return (count += std::exchange(uncounted, 0)) <= most; };
    bool room = true;
    run([&](int64_t first, int64_t second, int32_t distance) {
      if (room) found.push_back({first, second, distance});
      if (++uncounted == kTask) room = add_up();
    });
    room = add_up();
    const std::lock_guard<std::mutex> guard(mutex);
    pairs->insert(pairs->end(), found.begin(), found.end());
    return room;
  });
  std::sort(pairs->begin(), pairs->end(), [](const ClosePair& a, const ClosePair& b) {
    return a.first != b.first ? a.first < b.first : a.second < b.second;
  });
  return count <= most;
}

void close_groups(const Codes& codes, const std::vector<JoinStep>& steps, int64_t radius,
                  int threads, int64_t* roots) {
  Components components(codes.count);
  join_all(codes, steps, radius, threads, [&](const auto& run) {
    run([&](int64_t first, int64_t second, int32_t) { components.unite(first, second); });
    return true;
  });
  for (int64_t i = 0; i < codes.count; ++i) roots[i] = components.root(i);
}

}  // namespace semicon_fast
