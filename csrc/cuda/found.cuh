// State of a k-nearest selection for a group of queries, written by all blocks concurrently.
//
// Each query has a limit, the largest distance that is still accepted, and a histogram of the
// accepted codes. Once k codes lie within a distance, the limit is lowered to it, since later codes
// need not be farther. Accepted codes are stored in any order, since their keys (distance,
// position) determine the order of the results. If the buffer of a query is full, its limit is set
// to -1, and the query is ranked by counting instead.
#pragma once

#include "device.cuh"

namespace semicon_fast::cuda {

constexpr int kPositionBits = 48;

struct Found {
  int* limits;          // (queries,)
  int* lowest;          // (queries,): upper bound of the smallest accepted distance
  unsigned* counts;     // (queries,): number of accepted codes; if above `capacity`, some are lost
  unsigned* histogram;  // (queries, width)
  uint64_t* keys;       // (queries, capacity): distance << kPositionBits | position
  int64_t queries;
  int width;            // 8 * bytes + 1
  unsigned capacity, k;
};

__device__ __forceinline__ uint64_t key_of(int distance, int64_t position) {
  return static_cast<uint64_t>(distance) << kPositionBits | static_cast<uint64_t>(position);
}

__device__ __forceinline__ int limit_of(const Found& found, int64_t query) {
  return query < found.queries ? load_fresh(found.limits + query) : -1;
}

// Lowers the limit as far as the histogram allows, while other threads keep adding to it.
__device__ inline void tighten(const Found& found, int64_t query) {
  const unsigned* const counts = found.histogram + query * found.width;
  const int limit = load_fresh(found.limits + query);
  unsigned within = 0;
  for (int distance = load_fresh(found.lowest + query); distance < limit; ++distance) {
    within += load_fresh(counts + distance);
    if (within >= found.k) {
      atomicMin(found.limits + query, distance);
      return;
    }
  }
}

__device__ inline void append(const Found& found, int64_t query, int distance, int64_t position) {
  if (load_fresh(found.counts + query) > found.capacity) return;  // so that counts cannot overflow
  const unsigned place = atomicAdd(found.counts + query, 1u);
  if (place >= found.capacity) {
    atomicMin(found.limits + query, -1);
    return;
  }
  found.keys[query * found.capacity + place] = key_of(distance, position);
  atomicAdd(found.histogram + query * found.width + distance, 1u);
  if (distance < load_fresh(found.lowest + query)) atomicMin(found.lowest + query, distance);
  // Not after every code, since reading the histogram costs as much as appending many codes.
  const unsigned every = found.k / 8 + 1;
  if (place + 1 >= found.k && (place + 1 - found.k) % every == 0) tighten(found, query);
}

}  // namespace semicon_fast::cuda
