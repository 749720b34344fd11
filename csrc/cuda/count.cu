// Histograms of distances for each chunk of the database.
#include "jobs.cuh"
#include "sweep.cuh"

namespace semicon_fast::cuda {
namespace {

// Each thread counts for one query, in a column of shared memory that only it uses.
struct Columns {
  uint32_t* column;

  __device__ void next_tile() {}
  __device__ void operator()(int64_t, const int (&distances)[kBatch], int count) {
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      if (i < count) ++column[distances[i] * blockDim.x];
    }
  }
};

template <int kWords>
__global__ void __launch_bounds__(kLanes, 8)
    count_columns(Rows queries, Rows codes, int tile, int columns_at, int64_t chunks,
                  int64_t* counts) {
  const int width = 8 * codes.bytes + 1;
  const int64_t query = int64_t{blockIdx.x} * blockDim.x + threadIdx.x, chunk = blockIdx.y;
  auto* const column = reinterpret_cast<uint32_t*>(shared_memory() + columns_at) + threadIdx.x;
  for (int i = 0; i < width; ++i) column[i * blockDim.x] = 0;
  Columns visit{column};
  sweep<kWords>(queries, query, codes, codes.count * chunk / chunks,
                codes.count * (chunk + 1) / chunks, tile, visit);
  if (query >= queries.count) return;
  for (int i = 0; i < width; ++i) {
    counts[(query * width + i) * chunks + chunk] = column[i * blockDim.x];
  }
}

// Shared memory of count_columns.
template <int kWords>
int64_t column_bytes(const Rows& codes, int threads, int tile) {
  return sweep_bytes<kWords>(codes, threads, tile) + int64_t{4} * threads * (8 * codes.bytes + 1);
}

// Largest number of threads per block whose columns fit into shared memory; 0 if none do.
template <int kWords>
int column_threads(const Context& context, const Rows& codes, int tile) {
  for (const int64_t limit : {int64_t{72} << 10, context.device.shared_bytes}) {
    for (int threads = kLanes; threads >= kWarp; threads /= 2) {
      if (column_bytes<kWords>(codes, threads, tile) <= limit) return threads;
    }
  }
  return 0;
}

// Each warp counts one chunk for one query, one code per lane at a time; kGroups: only the members
// of the query's group.
template <int kWords, bool kGroups>
__global__ void __launch_bounds__(256, 2)
    count_rows(Jobs jobs, const uint32_t* packed, Rows codes, DeviceGroups groups,
               int64_t* counts) {
  const int width = 8 * codes.bytes + 1, lane = threadIdx.x % kWarp;
  const int64_t warps = blockDim.x / kWarp, step = gridDim.x * warps;
  auto* const bins = reinterpret_cast<unsigned*>(shared_memory()) + threadIdx.x / kWarp * width;
  Place place(jobs);
  int64_t task = blockIdx.x * warps + threadIdx.x / kWarp;
  for (; place.go_to(jobs, task, codes.count); task += step) {
    Span span{place.first, place.last};
    if constexpr (kGroups) {
      const Span all = members_of(groups, place.query);
      span.first = lower_bound(groups.lists.members, all, place.first);
      span.last = lower_bound(groups.lists.members, all, place.last);
    }
    for (int i = lane; i < width; i += kWarp) bins[i] = 0;
    __syncwarp();
    Query<kWords> query;
    query.read(packed + place.query * 4 * codes.quads, codes.quads);
    for (int64_t i = span.first + lane; i < span.last; i += kAhead * kWarp) {
      int distances[kAhead];
#pragma unroll
      for (int j = 0; j < kAhead; ++j) {
        const int64_t at = i + j * kWarp;
        int64_t row = at < span.last ? at : -1;
        if constexpr (kGroups) {
          if (row >= 0) row = groups.lists.members[at];
          if (row < place.first || row >= place.last) row = -1;
        }
        distances[j] = row >= 0 ? query.distance(codes, row) : -1;
      }
#pragma unroll
      for (int j = 0; j < kAhead; ++j) {
        if (distances[j] >= 0) atomicAdd(bins + distances[j], 1u);
      }
    }
    __syncwarp();
    for (int i = lane; i < width; i += kWarp) {
      counts[(place.job * width + i) * place.chunks + place.chunk] = bins[i];
    }
    __syncwarp();
  }
}

template <bool kGroups>
void count_by_rows(const Context& context, const Jobs& jobs, const Packed& queries,
                   const Rows& codes, const DeviceGroups& groups, int64_t* counts) {
  const int64_t bytes = int64_t{4} * (8 * codes.bytes + 1);
  const int warps = warps_for(bytes);
  with_words(codes.bytes, [&](auto words) {
    launch(count_rows<decltype(words)::value, kGroups>, grid_for(context, jobs, warps),
           warps * kWarp, warps * bytes, context.stream, jobs, queries.words, codes, groups,
           counts);
  });
}

__global__ void __launch_bounds__(256)
    sum_spans(int64_t jobs, int64_t entries, const int64_t* counts, int64_t spans, int64_t length,
              int64_t* sums) {
  const int lane = threadIdx.x % kWarp;
  const int64_t step = int64_t{gridDim.x} * blockDim.x / kWarp;
  int64_t i = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / kWarp;
  for (; i < jobs * spans; i += step) {
    const int64_t* const from = counts + i / spans * entries + i % spans * length;
    int64_t sum = 0;
    for (int64_t j = lane; j < length; j += kWarp) sum += from[j];
    for (int other = kWarp / 2; other > 0; other /= 2) sum += __shfl_xor_sync(kAll, sum, other);
    if (lane == 0) sums[i] = sum;
  }
}

}  // namespace

Jobs jobs_for(const Context& context, int64_t queries, int64_t codes, int width, int64_t room) {
  const int64_t least = least_chunks(codes), most = most_chunks(context, codes);
  const int64_t wanted = ceil_div(int64_t{context.device.multiprocessors} * kWarp, queries);
  const int64_t chunks = std::clamp(std::min({wanted, room, kMostCounts / width}), least, most);
  const int64_t count = std::clamp<int64_t>(room / chunks, 1, queries);
  return {count, chunks, nullptr, nullptr, room, least, most};
}

Jobs flagged_jobs(const Context& context, const unsigned* flagged, const int* list, int64_t queries,
                  int64_t codes, int width, int64_t room) {
  // Only as many chunks as keep the device busy with one query.
  const int64_t least = least_chunks(codes), busy = context.device.multiprocessors * kWarp;
  const int64_t bound = std::min({most_chunks(context, codes), busy, kMostCounts / width});
  const int64_t most = std::max(least, bound);
  return {queries, 0, flagged, list, room, least, most};
}

void count_codes(const Context& context, const Jobs& jobs, const Packed& queries, const Rows& codes,
                 int64_t* counts) {
  const int tile = tile_codes(codes);
  bool done = false;
  with_words(codes.bytes, [&](auto words) {
    constexpr int kWords = decltype(words)::value;
    const int threads = column_threads<kWords>(context, codes, tile);
    // One thread per query: with few queries most threads would be idle.
    done = jobs.flagged == nullptr && threads > 0 && jobs.count >= threads / 2;
    if (!done) return;
    const Rows lanes = rows_of({queries.words, jobs.count}, codes.bytes);
    const int64_t at = sweep_bytes<kWords>(codes, threads, tile);
    const dim3 grid(static_cast<unsigned>(ceil_div(jobs.count, threads)),
                    static_cast<unsigned>(jobs.chunks));
    launch(count_columns<kWords>, grid, threads, column_bytes<kWords>(codes, threads, tile),
           context.stream, lanes, codes, tile, static_cast<int>(at), jobs.chunks, counts);
  });
  if (!done) count_by_rows<false>(context, jobs, queries, codes, {}, counts);
}

void count_members(const Context& context, const Jobs& jobs, const Packed& queries,
                   const Rows& codes, const DeviceGroups& groups, int64_t* counts) {
  count_by_rows<true>(context, jobs, queries, codes, groups, counts);
}

void sum_counts(const Context& context, const Jobs& jobs, int width, const int64_t* counts,
                int64_t spans, int64_t length, int64_t* sums) {
  launch(sum_spans, grid_for(jobs.count * spans, 8), 256, 0, context.stream, jobs.count,
         width * jobs.chunks, counts, spans, length, sums);
}

}  // namespace semicon_fast::cuda
