// Selection for few queries: each thread loads 16 bytes of codes at a time and compares them with
// all queries, which are held in registers. It is bound by memory bandwidth.
#include "stages.h"

namespace semicon_fast::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kLoads = 4;    // loads in flight per thread
constexpr int kQueries = 4;  // largest number of queries per launch

// Rarely called: recomputes the distances of the pairs in `hits` (one bit for each query and code
// of the unit) and appends those within the limits.
template <int kWords, int kCodes>
__device__ void enter(const Found& found, const uint32_t* packed, const Rows& codes, int64_t unit,
                      unsigned hits) {
  while (hits != 0) {
    const int bit = __ffs(static_cast<int>(hits)) - 1;
    hits &= hits - 1;
    const int64_t q = bit / kCodes, row = unit * kCodes + bit % kCodes;
    Query<kWords> query;
    query.read(packed + q * 4 * codes.quads, codes.quads);
    append(found, q, query.distance(codes, row), row);
  }
}

// Contiguous codes, in units of 16 or 32 bytes that hold two codes or one.
template <int kWords, int kCount>
__global__ void __launch_bounds__(kThreads, kWords == 8 || kWords * kCount > 8 ? 2 : 4)
    scan_dense(Found found, const uint32_t* packed, Rows codes, int64_t units) {
  constexpr int kCodes = kWords == 2 ? 2 : 1;  // per unit
  constexpr int kQuads = kWords == 8 ? 2 : 1;  // per unit
  Query<kWords> queries[kCount];
  for (int q = 0; q < kCount; ++q) {
    queries[q].read(packed + (q < found.queries ? q : 0) * 4 * codes.quads, codes.quads);
  }
  const int64_t step = int64_t{gridDim.x} * kThreads * kLoads;
  for (int64_t start = int64_t{blockIdx.x} * kThreads * kLoads; start < units; start += step) {
    int limits[kCount];
#pragma unroll
    for (int q = 0; q < kCount; ++q) limits[q] = limit_of(found, q);
    uint4 values[kLoads][kQuads];
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      const int64_t unit = start + i * kThreads + threadIdx.x;
#pragma unroll
      for (int j = 0; j < kQuads; ++j) {
        values[i][j] = unit < units ? load<uint4>(codes.data + 16 * (unit * kQuads + j))
                                    : uint4{0, 0, 0, 0};
      }
    }
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      const int64_t unit = start + i * kThreads + threadIdx.x;
unsigned hits = 0;
#pragma unroll
      for (int q = 0; q < kCount; ++q) {
        const uint4 value = values[i][0];
        int distance = queries[q].distance(value, 0);
        if constexpr (kQuads == 2) distance += queries[q].distance(values[i][1], 4);
        hits |= distance <= limits[q] ? 1u << (q * kCodes) : 0;
        if constexpr (kCodes == 2) {
          distance = queries[q].distance(uint4{value.z, value.w, 0, 0}, 0);
          hits |= distance <= limits[q] ? 2u << (q * kCodes) : 0;
        }
      }
      if (hits != 0 && unit < units) enter<kWords, kCodes>(found, packed, codes, unit, hits);
    }
  }
}

// Codes from `first` on, at any stride and alignment.
template <int kWords>
__global__ void __launch_bounds__(kThreads, 4)
    scan_rows(Found found, const uint32_t* packed, Rows codes, int64_t first) {
  const int64_t step = int64_t{gridDim.x} * kThreads;
  for (int64_t row = first + int64_t{blockIdx.x} * kThreads + threadIdx.x; row < codes.count;
       row += step) {
    for (int64_t q = 0; q < found.queries; ++q) {
      Query<kWords> query;
      query.read(packed + q * 4 * codes.quads, codes.quads);
      const int distance = query.distance(codes, row);
      if (distance <= limit_of(found, q)) append(found, q, distance, row);
    }
  }
}

// The state of queries `first` to `first + count - 1`.
Found part(Found found, int64_t first, int64_t count) {
  found.limits += first;
  found.lowest += first;
  found.counts += first;
  found.histogram += first * found.width;
  found.keys += first * found.capacity;
  found.queries = count;
  return found;
}

}  // namespace

void select_scan(const Context& context, const Packed& queries, const Rows& codes,
                 const Found& found) {
  const int64_t most = int64_t{context.device.multiprocessors} * 8;
  with_words(codes.bytes, [&](auto constant) {
    constexpr int kWords = decltype(constant)::value;
    const bool dense = kWords > 0 && codes.bytes == 4 * kWords && codes.stride == codes.bytes &&
                       codes.align >= 8 && reinterpret_cast<uintptr_t>(codes.data) % 16 == 0;
    constexpr int kCodes = kWords == 2 ? 2 : 1;
    const int64_t units = dense ? codes.count / kCodes : 0, rest = units * kCodes;
    for (int64_t first = 0; first < queries.count; first += kQueries) {
      const int64_t count = std::min<int64_t>(kQueries, queries.count - first);
      const Found some = part(found, first, count);
      const uint32_t* const packed = queries.words + first * 4 * codes.quads;
      if constexpr (kWords > 0) {
        const unsigned grid = grid_for(units, kThreads * kLoads, most);
        const auto kernel = count == 1 ? scan_dense<kWords, 1> : scan_dense<kWords, kQueries>;
        if (units > 0) {
          launch(kernel, grid, kThreads, 0, context.stream, some, packed, codes, units);
        }
      }
      if (rest < codes.count) {
        launch(scan_rows<kWords>, grid_for(codes.count - rest, kThreads, most), kThreads, 0,
               context.stream, some, packed, codes, rest);
      }
    }
  });
}

}  // namespace semicon_fast::cuda
