// Shared by the kernels that count and rank: each warp processes one chunk of the database for one
// query.
#pragma once

#include "stages.h"

namespace semicon_fast::cuda {

constexpr int kAhead = 4;  // codes that a lane loads ahead

__device__ __forceinline__ int64_t bounded(int64_t value, int64_t low, int64_t high) {
  return value < low ? low : value > high ? high : value;
}

// The work of a warp: its job, the job's query, its chunk and the chunk's codes.
struct Place {
  int64_t jobs, chunks;
  int64_t job, query, chunk, first, last;

  __device__ __forceinline__ explicit Place(const Jobs& all) {
    jobs = all.count;
    chunks = all.chunks;
    if (all.flagged == nullptr) return;
    jobs = bounded(*all.flagged, 0, all.count);
    chunks = bounded(all.room / (jobs > 0 ? jobs : 1), all.least, all.most);
  }
  // Moves to the task of this number; false if there is none.
  __device__ __forceinline__ bool go_to(const Jobs& all, int64_t task, int64_t codes) {
    job = task / chunks;
    if (job >= jobs) return false;
    query = all.list == nullptr ? job : all.list[job];
    chunk = task % chunks;
    first = codes * chunk / chunks;
    last = codes * (chunk + 1) / chunks;
    return true;
  }
};

struct Span {
  int64_t first, last;
};

// The group of a query, as a range of indices into members; empty if the group does not exist.
__device__ inline Span members_of(const DeviceGroups& groups, int64_t query) {
  const int64_t group = groups.lists.of[query];
  if (group < 0 || group >= groups.count) return {0, 0};
  const int64_t first = bounded(groups.lists.lims[group], 0, groups.size);
  return {first, bounded(groups.lists.lims[group + 1], first, groups.size)};
}

// Index of the first member in `span` whose position is at least `position`.
__device__ inline int64_t lower_bound(const int64_t* members, Span span, int64_t position) {
  while (span.first < span.last) {
    const int64_t middle = span.first + (span.last - span.first) / 2;
    if (members[middle] < position) {
      span.first = middle + 1;
    } else {
      span.last = middle;
    }
  }
  return span.first;
}

// Warps per block if each needs `bytes` of shared memory.
inline int warps_for(int64_t bytes) {
  return static_cast<int>(std::clamp<int64_t>((48 << 10) / bytes, 1, 8));
}

inline unsigned grid_for(const Context& context, const Jobs& jobs, int warps) {
  const int64_t most = int64_t{context.device.multiprocessors} * (jobs.flagged == nullptr ? 32 : 8);
  const int64_t tasks = jobs.flagged == nullptr ? jobs.count * jobs.chunks : most * warps;
  return grid_for(tasks, warps, most);
}

}  // namespace semicon_fast::cuda
