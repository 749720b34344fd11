// Selection for few queries: each thread loads codes and compares them with all queries, which are
// held in registers. It is bound by memory bandwidth.
//
// Limits are read again only after kFreshBytes of codes, since all warps read them from the same
// few bytes, which a device delivers far more slowly than codes. A limit only falls, so that one
// that is read late is too large at most: more pairs are looked at twice, but none is lost, and what
// is appended is compared with the present limit.
#include <numeric>

#include "stages.h"

namespace semicon_fast::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kQueries = 3;             // largest number of queries per launch
constexpr int kFreshBytes = 16 << 10;   // codes that a warp compares with the same limits

__device__ __host__ __forceinline__ int fresh_turns(int bytes) {
  return bytes < kFreshBytes ? kFreshBytes / bytes : 1;
}

// Calls f with the number of queries as a compile-time constant.
template <class F>
void with_queries(int64_t count, F&& f) {
  if (count == 1) return f(std::integral_constant<int, 1>{});
  if (count == 2) return f(std::integral_constant<int, 2>{});
  return f(std::integral_constant<int, kQueries>{});
}

template <int kCount>
struct Limits {
  int of[kCount];
  int left = 0;  // turns until they are read again

  __device__ __forceinline__ void next_turn(const Found& found, int turns) {
    if (--left > 0) return;
    left = turns;
#pragma unroll
    for (int q = 0; q < kCount; ++q) of[q] = limit_of(found, q);
  }
};

// Appends a code for each query within whose present limit it is. Rarely called.
template <int kWords>
__device__ void enter(const Found& found, const uint32_t* packed, const Rows& codes, int64_t row,
                      int64_t position) {
#pragma unroll 1
  for (int64_t q = 0; q < found.queries; ++q) {
    Query<kWords> query;
    query.read(packed + q * 4 * codes.quads, codes.quads);
    const int distance = query.distance(codes, row);
    if (distance <= limit_of(found, q)) append(found, q, distance, position);
  }
}

// The smallest number of groups of 16 bytes that are whole codes of kBytes without gaps.
template <int kBytes>
struct Unit {
  static constexpr int kQuads = kBytes / std::gcd(16, kBytes);
  static constexpr int kWords = 4 * kQuads;
  static constexpr int kCodes = 16 * kQuads / kBytes;
  static constexpr int kLoads = kQuads == 3 ? 2 : 4;  // units in flight per thread
  // A query is repeated until it fills whole words; word w of a unit belongs to word w % kOwn.
  static constexpr int kOwn = kBytes / std::gcd(4, kBytes);
  uint32_t words[kWords];

  __device__ __forceinline__ void read(const uint8_t* from) {
#pragma unroll
    for (int i = 0; i < kQuads; ++i) {
      const uint4 quad = load<uint4>(from + 16 * i);
      words[4 * i] = quad.x;
      words[4 * i + 1] = quad.y;
      words[4 * i + 2] = quad.z;
      words[4 * i + 3] = quad.w;
    }
  }
  __device__ __forceinline__ int distance(const uint32_t (&query)[kOwn], int code) const {
    const int begin = code * kBytes, end = begin + kBytes;
    int sum = 0;
#pragma unroll
    for (int w = begin / 4; 4 * w < end; ++w) {
      const uint32_t mask = low_bytes(end - 4 * w) & ~low_bytes(begin - 4 * w);
      sum += __popc((words[w] ^ query[w % kOwn]) & mask);
    }
    return sum;
  }
  __device__ __forceinline__ int least(const uint32_t (&query)[kOwn]) const {
    int least = distance(query, 0);
#pragma unroll
    for (int code = 1; code < kCodes; ++code) {
      const int other = distance(query, code);
      least = other < least ? other : least;
    }
    return least;
  }
};

// Codes of kBytes without gaps, the first at an address divisible by 16; `first` is its position.
// Units of a thread are kThreads apart.
template <int kBytes, int kCount>
__global__ void __launch_bounds__(kThreads, kBytes >= 16 ? 2 : 4)
    scan_dense(Found found, const uint32_t* packed, Rows codes, int64_t first, int64_t units) {
  using Codes = Unit<kBytes>;
  constexpr int kLoads = Codes::kLoads, kUnitBytes = 16 * Codes::kQuads;
  uint32_t queries[kCount][Codes::kOwn] = {};
#pragma unroll
  for (int q = 0; q < kCount; ++q) {
#pragma unroll
    for (int i = 0; i < 4 * Codes::kOwn; ++i) {
      const int byte = i % kBytes;
      const uint32_t word = packed[q * 4 * codes.quads + byte / 4];
      queries[q][i / 4] |= (word >> (8 * (byte % 4)) & 0xff) << (8 * (i % 4));
    }
    // The same words, hidden from the compiler, which would otherwise make them anew at each turn.
#pragma unroll
    for (uint32_t& word : queries[q]) word = __shfl_sync(kAll, word, threadIdx.x % kWarp);
  }
  Limits<kCount> limits;
  const int64_t step = int64_t{gridDim.x} * kThreads * kLoads;
  for (int64_t start = int64_t{blockIdx.x} * kThreads * kLoads; start < units; start += step) {
    limits.next_turn(found, fresh_turns(kWarp * kLoads * kUnitBytes));
    const int64_t unit = start + threadIdx.x;
    const uint8_t* const from = codes.data + unit * kUnitBytes;
    Codes values[kLoads];
    if (start + kThreads * kLoads <= units) {
#pragma unroll
      for (int i = 0; i < kLoads; ++i) values[i].read(from + i * kThreads * kUnitBytes);
    } else {
#pragma unroll
      for (int i = 0; i < kLoads; ++i) {
        values[i] = {};
        if (unit + i * kThreads < units) values[i].read(from + i * kThreads * kUnitBytes);
      }
    }
    unsigned hits = 0;  // one bit for each unit
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
#pragma unroll
      for (int q = 0; q < kCount; ++q) {
        if (values[i].least(queries[q]) <= limits.of[q]) hits |= 1u << i;
      }
    }
#pragma unroll 1
    while (hits != 0) {
      const int64_t hit = unit + (__ffs(static_cast<int>(hits)) - 1) * kThreads;
      hits &= hits - 1;
#pragma unroll 1
      for (int64_t row = hit * Codes::kCodes; row < (hit + 1) * Codes::kCodes; ++row) {
        if (row >= codes.count) break;  // the zeros of a unit that is none
        enter<(kBytes <= 8 ? 2 : kBytes <= 16 ? 4 : 8)>(found, packed, codes, row, first + row);
      }
    }
  }
}

// The queries of a launch of scan_rows.
template <int kWords, int kCount>
struct Group {
  Query<kWords> queries[kCount];

  __device__ __forceinline__ void read(const uint32_t* packed, int quads) {
#pragma unroll
    for (int q = 0; q < kCount; ++q) queries[q].read(packed + q * 4 * quads, quads);
  }
  __device__ __forceinline__ void distances(const Rows& codes, int64_t row,
                                            int (&sums)[kCount]) const {
#pragma unroll
    for (int q = 0; q < kCount; ++q) sums[q] = 0;
    const int quads = kWords > 0 ? (kWords + 3) / 4 : codes.quads;
#pragma unroll
    for (int quad = 0; quad < quads; ++quad) {
      const uint4 value = load_quad(codes, row, quad);
#pragma unroll
      for (int q = 0; q < kCount; ++q) {
        if constexpr (kWords > 0) {
          sums[q] += queries[q].distance(value, 4 * quad);
        } else {
          sums[q] += differing(value, load<uint4>(queries[q].words + 4 * quad));
        }
      }
    }
  }
};

// Codes at any stride and alignment, except those from `skipped.first` to `skipped.last` - 1.
struct Skipped {
  int64_t first, last;
};

template <int kWords, int kCount>
__global__ void __launch_bounds__(kThreads, kWords == 8 ? 2 : 4)
    scan_rows(Found found, const uint32_t* packed, Rows codes, Skipped skipped) {
  Group<kWords, kCount> group;
  group.read(packed, codes.quads);
  Limits<kCount> limits;
  const int turns = fresh_turns(kWarp * codes.bytes);
  const int64_t step = int64_t{gridDim.x} * kThreads;
  const int64_t count = codes.count - (skipped.last - skipped.first);
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += step) {
    limits.next_turn(found, turns);
    const int64_t row = i < skipped.first ? i : i - skipped.first + skipped.last;
    int distances[kCount];
    group.distances(codes, row, distances);
    bool hit = false;
#pragma unroll
    for (int q = 0; q < kCount; ++q) hit |= distances[q] <= limits.of[q];
#pragma unroll 1
    for (; hit; hit = false) enter<kWords>(found, packed, codes, row, row);
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

// Calls f with the length of codes in bytes as a compile-time constant, if scan_dense has it.
template <int... kBytes, class F>
bool with_bytes(int bytes, std::integer_sequence<int, kBytes...>, F&& f) {
  return ((bytes == kBytes && (f(std::integral_constant<int, kBytes>{}), true)) || ...);
}
using DenseBytes = std::integer_sequence<int, 2, 3, 4, 6, 8, 12, 16, 24, 32>;

// The position of the first code at an address divisible by 16; -1 if there is none.
int64_t first_aligned(const Rows& codes) {
  for (int64_t i = 0; i < 16 && i < codes.count; ++i) {
    if (reinterpret_cast<uintptr_t>(codes.data + i * codes.stride) % 16 == 0) return i;
  }
  return -1;
}

// Compares the codes for which scan_dense is made, and returns which these are.
Skipped scan_without_gaps(const Context& context, const uint32_t* packed, const Rows& codes,
                          const Found& found, unsigned most) {
  const int64_t first = codes.stride == codes.bytes ? first_aligned(codes) : -1;
  Skipped done{0, 0};
  if (first < 0) return done;
  with_bytes(codes.bytes, DenseBytes{}, [&](auto constant) {
    constexpr int kBytes = decltype(constant)::value;
    const int64_t units = (codes.count - first) / Unit<kBytes>::kCodes;
    if (units == 0) return;
    done = {first, first + units * Unit<kBytes>::kCodes};
    const unsigned grid = grid_for(units, kThreads * Unit<kBytes>::kLoads, most);
    with_queries(found.queries, [&](auto queries) {
      launch(scan_dense<kBytes, decltype(queries)::value>, grid, kThreads, 0, context.stream, found,
             packed, slice(codes, first, done.last - first), first, units);
    });
  });
  return done;
}

}  // namespace

void select_scan(const Context& context, const Packed& queries, const Rows& codes,
                 const Found& found) {
  const auto most = static_cast<unsigned>(context.device.multiprocessors) * 8;
  for (int64_t first = 0; first < queries.count; first += kQueries) {
    const int64_t count = std::min<int64_t>(kQueries, queries.count - first);
    const Found some = part(found, first, count);
    const uint32_t* const packed = queries.words + first * 4 * codes.quads;
    const Skipped done = scan_without_gaps(context, packed, codes, some, most);
    const int64_t rest = codes.count - (done.last - done.first);
    if (rest == 0) continue;
    with_words(codes.bytes, [&](auto words) {
      with_queries(count, [&](auto constant) {
        launch(scan_rows<decltype(words)::value, decltype(constant)::value>,
               grid_for(rest, kThreads, most), kThreads, 0, context.stream, some, packed, codes,
               done);
      });
    });
  }
}

}  // namespace semicon_fast::cuda
