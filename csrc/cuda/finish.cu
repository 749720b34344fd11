// First and last step of a selection: limits from a sample, and sorting of the keys found.
#include "stages.h"

namespace semicon_fast::cuda {
namespace {

constexpr int kThreads = 256;

// Sets the limits to the smallest distance within which `rank` codes of the sample lie.
__global__ void __launch_bounds__(kThreads)
    read_limits(const int64_t* places, int64_t chunks, int64_t rank, Found found) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  int64_t query = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  for (; query < found.queries; query += step) {
    const int64_t* const of = places + query * found.width * chunks;
    int low = 0, high = found.width - 1;  // of[i + 1] codes lie within distance i
    while (low < high) {
      const int middle = (low + high) / 2;
      if (of[(middle + 1) * chunks] >= rank) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    found.limits[query] = low;
  }
}

// The k-th smallest distance, computed by one warp; at least k codes must have been found.
__device__ int kth_distance(const Found& found, int64_t query) {
  const int lane = threadIdx.x % kWarp;
  unsigned before = 0;
  for (int start = found.lowest[query];; start += kWarp) {
    const int distance = start + lane;
    unsigned sum = distance < found.width ? found.histogram[query * found.width + distance] : 0;
    for (int other = 1; other < kWarp; other *= 2) {
      const unsigned left = __shfl_up_sync(kAll, sum, other);
      if (lane >= other) sum += left;
    }
    const unsigned reached = __ballot_sync(kAll, before + sum >= found.k);
    if (reached != 0) return start + __ffs(static_cast<int>(reached)) - 1;
    before += __shfl_sync(kAll, sum, kWarp - 1);
    if (start >= found.width) return found.width;  // never: fewer than k were found
  }
}

// Bitonic sort of keys (size,), size a power of two, by one block.
__device__ void sort_keys(uint64_t* keys, unsigned size) {
  for (unsigned run = 2; run <= size; run *= 2) {
    for (unsigned apart = run / 2; apart > 0; apart /= 2) {
      for (unsigned i = threadIdx.x; i < size / 2; i += blockDim.x) {
        const unsigned low = i / apart * apart * 2 + i % apart, high = low + apart;
        const bool down = (low & run) != 0;
        const uint64_t a = keys[low], b = keys[high];
        if ((a > b) != down) {
          keys[low] = b;
          keys[high] = a;
        }
      }
      __syncthreads();
    }
  }
}

__global__ void __launch_bounds__(kThreads)
    finish_query(Found found, unsigned sorted, Results results, unsigned* flagged, int* list) {
  const int64_t query = blockIdx.x;
  auto* const limit = reinterpret_cast<int*>(shared_memory());
  auto* const filled = reinterpret_cast<unsigned*>(shared_memory()) + 1;
  auto* const keys = reinterpret_cast<uint64_t*>(shared_memory() + 16);
  const unsigned count = found.counts[query];
  const bool complete = count >= found.k && count <= found.capacity;
  if (threadIdx.x == 0) *filled = 0;
  if (complete && threadIdx.x < kWarp) {
    const int kth = kth_distance(found, query);
    if (threadIdx.x == 0) *limit = kth;
  }
  __syncthreads();
  if (complete) {
    const uint64_t end = key_of(*limit + 1, 0);
    for (unsigned i = threadIdx.x; i < count; i += blockDim.x) {
      const uint64_t key = found.keys[query * found.capacity + i];
      if (key >= end) continue;
      const unsigned place = atomicAdd(filled, 1u);
      if (place < sorted) keys[place] = key;
    }
  }
  __syncthreads();
  const unsigned within = *filled;
  if (!complete || within > sorted) {
    if (threadIdx.x == 0) list[atomicAdd(flagged, 1u)] = static_cast<int>(query);
    return;
  }
  unsigned size = 2;
  while (size < within) size *= 2;
  for (unsigned i = within + threadIdx.x; i < size; i += blockDim.x) keys[i] = ~uint64_t{0};
  __syncthreads();
  sort_keys(keys, size);
  for (unsigned i = threadIdx.x; i < found.k; i += blockDim.x) {
    const int64_t to = query * results.size + i;
    results.distances[to] = static_cast<int32_t>(keys[i] >> kPositionBits);
    results.positions[to] = static_cast<int64_t>(keys[i] & ((uint64_t{1} << kPositionBits) - 1));
  }
}

}  // namespace

void guess_limits(const Context& context, const int64_t* places, const Jobs& jobs, int64_t rank,
                  const Found& found) {
  launch(read_limits, grid_for(found.queries, kThreads), kThreads, 0, context.stream, places,
         jobs.chunks, rank, found);
}

void finish(const Context& context, const Found& found, int64_t sorted, const Results& results,
            unsigned* flagged, int* list) {
  const int64_t bytes = 16 + 8 * std::max<int64_t>(sorted, 2);
  launch(finish_query, static_cast<unsigned>(found.queries), kThreads, bytes, context.stream, found,
         static_cast<unsigned>(sorted), results, flagged, list);
}

}  // namespace semicon_fast::cuda
