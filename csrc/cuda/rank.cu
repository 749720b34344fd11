// Full rankings, range search and ranks by a stable counting sort. Once the codes of every chunk
// are counted by distance, the output position of each code is fixed, independent of scheduling.
#include "jobs.cuh"

namespace semicon_fast::cuda {
namespace {

constexpr int kScanThreads = 512;

// Prefix sum in place by one block: inclusive, or exclusive. totals: shared memory, one per warp.
__device__ void scan_values(int64_t* values, int64_t count, bool exclusive, int64_t* totals) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  int64_t before = 0;
  for (int64_t start = 0; start < count; start += kScanThreads) {
    const int64_t i = start + threadIdx.x;
    const int64_t value = i < count ? values[i] : 0;
    int64_t sum = value;
    for (int other = 1; other < kWarp; other *= 2) {
      const int64_t left = __shfl_up_sync(kAll, sum, other);
      if (lane >= other) sum += left;
    }
    if (lane == kWarp - 1) totals[warp] = sum;
    __syncthreads();
    int64_t whole = 0;
    for (int w = 0; w < kScanThreads / kWarp; ++w) {
      if (w == warp) sum += before + whole;
      whole += totals[w];
    }
    if (i < count) values[i] = exclusive ? sum - value : sum;
    before += whole;
    __syncthreads();
  }
}

__global__ void __launch_bounds__(kScanThreads) scan_jobs(Jobs jobs, int width, int64_t* counts) {
  auto* const totals = reinterpret_cast<int64_t*>(shared_memory());
  const Place place(jobs);
  const int64_t entries = width * place.chunks;
  for (int64_t job = blockIdx.x; job < place.jobs; job += gridDim.x) {
    scan_values(counts + job * entries, entries, true, totals);
  }
}

__global__ void __launch_bounds__(kScanThreads) scan_vector(int64_t* values, int64_t count) {
  scan_values(values, count, false, reinterpret_cast<int64_t*>(shared_memory()));
}

// Copies a job's places for its chunk to next (width,). Returns the number of distances whose first
// code among all chunks has a place below `end`.
__device__ int read_places(const Place& place, const int64_t* places, int width, int64_t end,
                           int64_t* next) {
  const int lane = threadIdx.x % kWarp;
  const int64_t* const from = places + place.job * width * place.chunks;
  int reached = 0;
  for (int start = 0; start < width; start += kWarp) {
    const int i = start + lane;
    if (i < width) next[i] = from[i * place.chunks + place.chunk];
    reached += __popc(__ballot_sync(kAll, i < width && from[i * place.chunks] < end));
  }
  __syncwarp();
  return reached;
}

// The output position of this lane's code; codes of the warp at the same distance get consecutive
// positions, and `next` is advanced past them. Lanes that are not `counted` have no code.
__device__ int64_t take_place(int64_t* next, int distance, bool counted) {
  const unsigned before = (1u << threadIdx.x % kWarp) - 1;
  const unsigned same = match(counted ? static_cast<unsigned>(distance) : ~0u);
  const int64_t mine = counted ? next[distance] + __popc(same & before) : -1;
  __syncwarp();
  if (counted && (same & before) == 0) next[distance] += __popc(same);
  __syncwarp();
  return mine;
}

// Computes the distances from the query of `place` to the codes of its chunk, kAhead per lane at a
// time. The whole warp calls visit(first, distance) for every 32 codes from position `first` on, in
// order; lanes beyond the chunk's end get -1.
template <int kWords, class Visit>
__device__ __forceinline__ void visit_chunk(const Place& place, const uint32_t* packed,
                                            const Rows& codes, Visit&& visit) {
  Query<kWords> query;
  query.read(packed + place.query * 4 * codes.quads, codes.quads);
  for (int64_t row = place.first; row < place.last; row += kAhead * kWarp) {
    int distances[kAhead];
#pragma unroll
    for (int j = 0; j < kAhead; ++j) {
      const int64_t mine = row + j * kWarp + threadIdx.x % kWarp;
      distances[j] = mine < place.last ? query.distance(codes, mine) : -1;
    }
#pragma unroll 1
    for (int j = 0; j < kAhead; ++j) {
      int distance = distances[0];
#pragma unroll
      for (int i = 1; i < kAhead; ++i) distance = i == j ? distances[i] : distance;
      visit(row + j * kWarp, distance);
    }
  }
}

template <int kWords>
__global__ void __launch_bounds__(256, 2)
    place_rows(Jobs jobs, const uint32_t* packed, Rows codes, const int64_t* places,
               Results results) {
  const int width = 8 * codes.bytes + 1;
  const int64_t warps = blockDim.x / kWarp, step = gridDim.x * warps;
  auto* const next = reinterpret_cast<int64_t*>(shared_memory()) + threadIdx.x / kWarp * width;
  Place place(jobs);
  int64_t task = blockIdx.x * warps + threadIdx.x / kWarp;
  for (; place.go_to(jobs, task, codes.count); task += step) {
    const int64_t* const lims = results.lims;
    const int64_t begin = lims ? lims[place.query] : place.query * results.size;
    const int64_t size = lims ? lims[place.query + 1] - begin : results.size;
    const int near = read_places(place, places, width, size, next);
    visit_chunk<kWords>(place, packed, codes, [&](int64_t first, int distance) {
      const bool counted = distance >= 0 && distance < near;
      if (__ballot_sync(kAll, counted) == 0) return;
      const int64_t at = take_place(next, distance, counted);
      if (!counted || at >= size) return;
      results.distances[begin + at] = distance;
      results.positions[begin + at] = first + threadIdx.x % kWarp;
    });
    __syncwarp();
  }
}

// Which of the 32 positions from `base` on are members, as a bit mask; advances `at`, the index of
// the next member.
__device__ unsigned members_here(const int64_t* members, int64_t last, int64_t base, int64_t* at) {
  const int64_t mine = *at + threadIdx.x % kWarp;
  const int64_t member = mine < last ? members[mine] : -1;
  const bool here = member >= base && member < base + kWarp;
  unsigned bits = here ? 1u << (member - base) : 0;
  for (int other = kWarp / 2; other > 0; other /= 2) bits |= __shfl_xor_sync(kAll, bits, other);
  *at += __popc(__ballot_sync(kAll, here));
  return bits;
}

template <int kWords>
__global__ void __launch_bounds__(256, 2)
    place_group(Jobs jobs, const uint32_t* packed, Rows codes, DeviceGroups groups,
                const int64_t* places, const int64_t* member_places, const int64_t* lims,
                int64_t* ranks) {
  const int width = 8 * codes.bytes + 1, lane = threadIdx.x % kWarp;
  const int64_t warps = blockDim.x / kWarp, step = gridDim.x * warps;
  auto* const next = reinterpret_cast<int64_t*>(shared_memory()) + threadIdx.x / kWarp * 2 * width;
  Place place(jobs);
  int64_t task = blockIdx.x * warps + threadIdx.x / kWarp;
  for (; place.go_to(jobs, task, codes.count); task += step) {
    const int64_t begin = lims[place.query], size = lims[place.query + 1] - begin;
    const Span span = members_of(groups, place.query);
    int64_t at = lower_bound(groups.lists.members, span, place.first);
    read_places(place, places, width, 0, next);
    read_places(place, member_places, width, 0, next + width);
    visit_chunk<kWords>(place, packed, codes, [&](int64_t first, int distance) {
      const unsigned here = members_here(groups.lists.members, span.last, first, &at);
      const int64_t rank = take_place(next, distance, distance >= 0);
      if (here == 0) return;
      const bool member = distance >= 0 && (here >> lane & 1) != 0;
      const int64_t to = take_place(next + width, distance, member);
      if (member && to < size) ranks[begin + to] = rank + 1;
    });
    __syncwarp();
  }
}

__global__ void __launch_bounds__(256)
    read_group_sizes(DeviceGroups groups, int64_t queries, int64_t* sizes) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t q = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; q < queries; q += step) {
    const Span span = members_of(groups, q);
    sizes[q] = span.last - span.first;
  }
}

constexpr int64_t kScanBytes = kScanThreads / kWarp * 8;

}  // namespace

void counts_to_places(const Context& context, const Jobs& jobs, int width, int64_t* counts) {
  const int64_t most = int64_t{context.device.multiprocessors} * 4;
  launch(scan_jobs, grid_for(jobs.count, 1, most), kScanThreads, kScanBytes, context.stream, jobs,
         width, counts);
}

void place_codes(const Context& context, const Jobs& jobs, const Packed& queries, const Rows& codes,
                 const int64_t* places, const Results& results) {
  const int64_t bytes = int64_t{8} * (8 * codes.bytes + 1);
  const int warps = warps_for(bytes);
  with_words(codes.bytes, [&](auto words) {
    launch(place_rows<decltype(words)::value>, grid_for(context, jobs, warps), warps * kWarp,
           warps * bytes, context.stream, jobs, queries.words, codes, places, results);
  });
}

void place_members(const Context& context, const Jobs& jobs, const Packed& queries,
                   const Rows& codes, const DeviceGroups& groups, const int64_t* places,
                   const int64_t* member_places, const int64_t* lims, int64_t* ranks) {
  const int64_t bytes = int64_t{16} * (8 * codes.bytes + 1);
  const int warps = warps_for(bytes);
  with_words(codes.bytes, [&](auto words) {
    launch(place_group<decltype(words)::value>, grid_for(context, jobs, warps), warps * kWarp,
           warps * bytes, context.stream, jobs, queries.words, codes, groups, places, member_places,
           lims, ranks);
  });
}

void accumulate(const Context& context, int64_t* values, int64_t count) {
  launch(scan_vector, 1, kScanThreads, kScanBytes, context.stream, values, count);
}

void group_sizes(const Context& context, const DeviceGroups& groups, int64_t queries,
                 int64_t* sizes) {
  launch(read_group_sizes, grid_for(queries, 256), 256, 0, context.stream, groups, queries, sizes);
}

}  // namespace semicon_fast::cuda
