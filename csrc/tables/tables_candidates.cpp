// The published protocol of search in tables: so many candidates, by the radius at which they are
// found.
#include <algorithm>
#include <limits>
#include <vector>

#include "hamming/scan.h"
#include "tables/tables.h"
#include "tables/tables_probe.h"

namespace semicon_fast {
namespace {

// Candidates as integers that order like (radius, distance, position).
constexpr int kPositionBits = 44, kDistanceBits = 13;

uint64_t candidate_key(int64_t radius, int64_t distance, int64_t position) {
  return static_cast<uint64_t>(radius) << (kPositionBits + kDistanceBits) |
         static_cast<uint64_t>(distance) << kPositionBits | static_cast<uint64_t>(position);
}
uint64_t without_radius(uint64_t key) {
  const uint64_t position = key & ((uint64_t{1} << kPositionBits) - 1);
  const uint64_t distance = key >> kPositionBits & ((uint64_t{1} << kDistanceBits) - 1);
  return pair_key(static_cast<int64_t>(distance), static_cast<int64_t>(position));
}

// The key of a code: least difference of a piece, distance, position.
template <class Index>
uint64_t key_of(const TableSearch<Index>& search, const uint64_t* query, int64_t position) {
  const Codes& codes = search.database;
  uint64_t code[kMaxBytes / 8];
  load_words(codes.data + position * codes.stride, codes.bytes, code);
  int64_t least = kMaxPieceBits, distance = 0;
  for (const auto& table : search.tables) {
    const Piece& piece = table.piece;
    const int64_t differing = piece_difference(query, code, piece.first, piece.bits);
    least = std::min(least, differing);
    distance += differing;
  }
  return candidate_key(least, distance, position);
}

// The codes found at a radius and at none below, in any order. Looks at all codes at larger radii
// too if that is less work; then returns true.
template <class Index>
bool at_radius(const TableSearch<Index>& search, Probe<Index>& probe, int64_t radius,
               std::vector<uint64_t>* found) {
  double cost = 0;
  for (size_t t = 0; t < search.tables.size(); ++t) cost += probe.cost(t, radius);
  std::vector<Index> positions;
  bool within = cost <= static_cast<double>(search.database.count) / 2 + 1024;
  for (size_t t = 0; within && t < search.tables.size(); ++t) {
    probe.look_up(t, radius, std::numeric_limits<double>::infinity(),
                  [&](const Index* p, int64_t n) { positions.insert(positions.end(), p, p + n); });
  }
  if (!within) {
    for (int64_t i = 0; i < search.database.count; ++i) {
      const uint64_t key = key_of(search, probe.words(), i);
      if (key >= candidate_key(radius, 0, 0)) found->push_back(key);
    }
    return true;
  }
  std::sort(positions.begin(), positions.end());
  positions.erase(std::unique(positions.begin(), positions.end()), positions.end());
  for (const Index position : positions) {
    // Found before, or only at the address of another value, otherwise.
    const uint64_t key = key_of(search, probe.words(), static_cast<int64_t>(position));
    if (key >> (kPositionBits + kDistanceBits) == static_cast<uint64_t>(radius)) {
      found->push_back(key);
    }
  }
  return false;
}

}  // namespace

template <class Index>
void topk_candidates(const TableSearch<Index>& search, int64_t candidates, int64_t k,
                     int32_t* distances, int64_t* positions) {
  each_query(search, static_cast<double>(candidates), [&](Probe<Index>& probe, int64_t query) {
    std::vector<uint64_t> found;
    bool all = false;
    // Fewer than wanted are found at the last radius only if a damaged table lacks codes.
    for (int64_t r = 0; !all && r <= kMaxPieceBits; ++r) {
      if (static_cast<int64_t>(found.size()) >= candidates) break;
      all = at_radius(search, probe, r, &found);
    }
    const auto size = std::min(candidates, static_cast<int64_t>(found.size()));
    std::nth_element(found.begin(), found.begin() + size, found.end());
    found.resize(static_cast<size_t>(size));
    for (uint64_t& key : found) key = without_radius(key);
    const int64_t kept = std::min(k, size);
    std::partial_sort(found.begin(), found.begin() + kept, found.end());
    for (int64_t i = 0; i < k; ++i) {
      distances[query * k + i] = i < kept ? static_cast<int32_t>(key_distance(found[i])) : 0;
      positions[query * k + i] = i < kept ? key_position(found[i]) : 0;
    }
  });
}

template void topk_candidates(const TableSearch<uint32_t>&, int64_t, int64_t, int32_t*, int64_t*);
template void topk_candidates(const TableSearch<uint64_t>&, int64_t, int64_t, int32_t*, int64_t*);

}  // namespace semicon_fast
