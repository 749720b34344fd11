#include "hamming/repeats.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

#include "hamming/scan.h"
#include "hamming/sweep.h"
#include "common/words.h"

namespace semicon_fast {
namespace {

constexpr int64_t kSampled = 1024;                         // codes that likely() samples
constexpr int64_t kMostBytes = int64_t{64} << 20;       // limit of all positions that are kept
constexpr int64_t kRange = int64_t{1} << 18;            // codes per task
constexpr uint64_t kMultiplier = 0x9E3779B97F4A7C15u;   // 2^64 / golden ratio

// The key of a code: the code itself up to 8 bytes, a hash of it if it is longer.
uint64_t key_of(const uint8_t* code, int64_t bytes) {
  uint64_t key = 0;
  for (; bytes > 8; code += 8, bytes -= 8) {
    key = (key ^ load_word(code, 8)) * kMultiplier;
    key ^= key >> 29;
  }
  return key ^ load_word(code, bytes);
}

// Hash table of distinct codes, numbered in order of their first occurrence.
class Table {
 public:
  struct Entry {
    uint64_t key;
    int32_t number = -1;
    int32_t room;  // how many more positions may be stored for the code
  };

  Table(int64_t bytes, int64_t most, int64_t room)
      : bytes_(bytes), most_(most), room_(room), entries_(size_t{1} << log_) {}

  // The code's entry, added if new; null if there would be more than `most` codes.
  Entry* entry(const uint8_t* code) {
    const uint64_t key = key_of(code, bytes_);
    Entry* const found = find(key, code);
    return found->number >= 0 ? found : add(key, code);
  }
  int64_t size() const { return size_; }
  std::vector<uint8_t>& codes() { return codes_; }

 private:
  // The entry of the code, or the free entry for it. code: null if it is known to be new.
  Entry* find(uint64_t key, const uint8_t* code) {
    const uint64_t mask = entries_.size() - 1;
    for (uint64_t i = key * kMultiplier >> (64 - log_);; i = (i + 1) & mask) {
      Entry& entry = entries_[i];
      if (entry.number < 0) return &entry;
      if (entry.key == key && code &&
          (bytes_ <= 8 || std::memcmp(&codes_[entry.number * bytes_], code, bytes_) == 0)) {
        return &entry;
      }
    }
  }

  Entry* add(uint64_t key, const uint8_t* code) {
    if (size_ == most_) return nullptr;
    // At most an eighth full, so that a second probe, a mispredicted branch, is rare.
    if (8 * size_ >= static_cast<int64_t>(entries_.size())) grow();
    Entry* const entry = find(key, nullptr);
    *entry = {key, static_cast<int32_t>(size_++), static_cast<int32_t>(room_)};
    codes_.insert(codes_.end(), code, code + bytes_);
    return entry;
  }

  void grow() {
    const std::vector<Entry> old =
        std::exchange(entries_, std::vector<Entry>(size_t{2} << log_));
    ++log_;
    for (const Entry& entry : old) {
      if (entry.number >= 0) *find(entry.key, nullptr) = entry;
    }
  }

  int64_t bytes_, most_, room_, size_ = 0;
  int log_ = 8;
  std::vector<Entry> entries_;
  std::vector<uint8_t> codes_;
};

using Positions = std::vector<std::vector<int64_t>>;

// Collects the distinct codes of a range and their positions; false if there are too many.
bool collect(const Codes& database, int64_t first, int64_t last, Table& table,
             Positions& positions, const std::atomic<bool>& stop) {
  for (int64_t position = first; position < last; ++position) {
    Table::Entry* const entry = table.entry(database.data + position * database.stride);
    if (!entry || (position % 4096 == 0 && stop)) return false;
    if (entry->room == 0) continue;
    --entry->room;
    if (entry->number == static_cast<int64_t>(positions.size())) positions.emplace_back();
    positions[entry->number].push_back(position);
  }
  return true;
}

}  // namespace

bool Repeats::likely(const Codes& database) {
  if (database.count < 16 * kSampled) return false;
  Table table(database.bytes, kSampled, 1);
  // Odd, so that it is not in phase with data laid out in powers of two.
  const int64_t every = database.count / kSampled | 1;
  int64_t sampled = 0;
  for (int64_t i = 0; i < database.count && sampled < kSampled; i += every, ++sampled) {
    table.entry(database.data + i * database.stride);
  }
  // If there are n distinct codes, about kSampled^2 / 2 n pairs of the sample are equal: 16 for
  // n = 32,768.
  return table.size() <= sampled - 16;
}

Repeats::Repeats(const Codes& database, int64_t k, int threads) : bytes_(database.bytes), k_(k) {
  const int64_t most = std::min(database.count / 16, kMostBytes / (8 * k));
  if (most < 1) return;
  const int64_t ranges = std::clamp<int64_t>(database.count / kRange, 1, 2 * threads);
  std::vector<Table> tables(static_cast<size_t>(ranges), Table(bytes_, most, k));
  std::vector<Positions> found(static_cast<size_t>(ranges));
  std::atomic<bool> stop{false};
  parallel(ranges, threads, [&](int64_t r) {
    const int64_t first = database.count * r / ranges, last = database.count * (r + 1) / ranges;
    if (!collect(database, first, last, tables[r], found[r], stop)) stop = true;
  });
  // Merges the ranges in order, so that the positions of each code stay ascending.
  for (int64_t r = 1; r < ranges && !stop; ++r) {
    for (int64_t i = 0; i < tables[r].size() && !stop; ++i) {
      Table::Entry* const entry = tables[0].entry(&tables[r].codes()[i * bytes_]);
      if (!entry) {
        stop = true;
      } else if (entry->number == static_cast<int64_t>(found[0].size())) {
        found[0].push_back(std::move(found[r][i]));
      } else {
        auto& own = found[0][entry->number];
        const auto& more = found[r][i];
        const auto room = static_cast<size_t>(k) - own.size();
        own.insert(own.end(), more.begin(), more.begin() + std::min(room, more.size()));
      }
    }
  }
  if (stop) return;
  codes_ = std::move(tables[0].codes());
  positions_ = std::move(found[0]);
}

void Repeats::topk(const Codes& queries, const std::vector<int64_t>& rows, int threads,
                   int32_t* distances, int64_t* positions) const {
  const Isa& isa = active_isa();
  const Shape shape(bytes_, isa, static_cast<int64_t>(rows.size()));
  std::vector<uint8_t> chosen(rows.size() * static_cast<size_t>(bytes_));
  for (size_t i = 0; i < rows.size(); ++i) {
    std::memcpy(&chosen[i * bytes_], queries.data + rows[i] * queries.stride, bytes_);
  }
  const Codes own{chosen.data(), static_cast<int64_t>(rows.size()), bytes_, bytes_};
  const auto count = static_cast<int64_t>(positions_.size());
  const Codes distinct{codes_.data(), count, bytes_, bytes_};
  Grid grid(isa, shape, own, distinct, threads);
  grid.ranges = 1;
  parallel(grid.tiles, threads, [&](int64_t tile) {
    std::vector<uint16_t> near(static_cast<size_t>(grid.tile * count));
    sweep(isa, shape, own, distinct, grid, tile, 0,
          [&](int64_t i, const uint16_t* found, int64_t first, int64_t n) {
            std::copy(found, found + n, &near[i * count + first]);
          });
    for (int64_t i = 0; i < grid.tile && tile * grid.tile + i < own.count; ++i) {
      const int64_t row = rows[tile * grid.tile + i];
      nearest(&near[i * count], distances + row * k_, positions + row * k_);
    }
  });
}

// Writes the k nearest of one query. near (distinct,): its distances to the distinct codes.
void Repeats::nearest(const uint16_t* near, int32_t* distances, int64_t* positions) const {
  const auto count = static_cast<int64_t>(positions_.size());
  std::vector<int64_t> codes(static_cast<size_t>(8 * bytes_ + 1));
  for (int64_t i = 0; i < count; ++i) codes[near[i]] += static_cast<int64_t>(positions_[i].size());
  int64_t last = 0, below = 0;  // the k-th smallest distance, and how many codes are nearer
  while (below + codes[last] < k_) below += codes[last++];
  std::vector<uint64_t> keys, ties;
  for (int64_t i = 0; i < count; ++i) {
    if (near[i] > last) continue;
    for (const int64_t position : positions_[i]) {
      (near[i] < last ? keys : ties).push_back(pair_key(near[i], position));
    }
  }
  const int64_t wanted = k_ - below;
  std::nth_element(ties.begin(), ties.begin() + wanted - 1, ties.end());
  keys.insert(keys.end(), ties.begin(), ties.begin() + wanted);
  std::sort(keys.begin(), keys.end());
  for (int64_t i = 0; i < k_; ++i) {
    distances[i] = static_cast<int32_t>(key_distance(keys[i]));
    positions[i] = key_position(keys[i]);
  }
}

}  // namespace semicon_fast
