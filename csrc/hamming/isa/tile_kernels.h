// The functions of kernels.h as templates over the registers of an instruction set. Included by
// each instruction set's file inside its target region and anonymous namespace, after `struct
// Simd`:
//
//   Vec                      a register; kVectors of them are a group of 64 bytes
//   kPartialWords            words whose partial counts can be added without overflow
//   kRegisters               number of registers
//   kShortestLane            bytes of the narrowest lane it can count
//   load, broadcast, xored, add (of partial counts), add_lanes (of lane counts)
//   partial<Lane>(x)         counts of set bits, in parts of a lane or in whole lanes
//   lanes<Lane>(partial)     partial counts summed to one count per lane
//   least(a, b)              minimum of two counts in every lane
//   fill<Lane>(n), any_below<Lane>(counts, limit), mask_below<Lane>(counts, limit)
//   store<Lane>(counts, out) one uint16 per lane
//
// `W` words per code (0: known at run time), `R` queries and `V` registers of codes at a time.

using Vec = Simd::Vec;
constexpr int kVectors = Simd::kVectors;
constexpr int64_t kMaxWords = 64;

template <class Lane>
constexpr int kLanes = static_cast<int>(sizeof(Vec) / sizeof(Lane));

template <class Lane, int W, int R, int V>
struct TileKernel {
  static_assert(V % kVectors == 0 && V * kLanes<Lane> <= kStep, "a step is whole groups");
  static constexpr int kCodes = V * kLanes<Lane>;

  SEMICON_FAST_INLINE static int64_t step_bytes(int64_t words) {
    return V / kVectors * words * kGroupBytes;
  }

  SEMICON_FAST_INLINE static Vec load(const uint8_t* codes, int64_t words, int64_t word, int v) {
    const int64_t group = (v / kVectors) * words + word;
    return Simd::load(codes + group * kGroupBytes + (v % kVectors) * sizeof(Vec));
  }

  // Adds the partial counts of one word to `counts`; for the first word, overwrites them.
  template <bool First>
  SEMICON_FAST_INLINE static void count_word(const uint8_t* codes, int64_t words, int64_t word,
                                             const uint64_t* queries, Vec (&counts)[R][V]) {
    Vec code[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) code[v] = load(codes, words, word, v);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const Vec query = Simd::broadcast(queries[r * words + word]);
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) {
        const Vec some = Simd::template partial<Lane>(Simd::xored(code[v], query));
        counts[r][v] = First ? some : Simd::add(counts[r][v], some);
      }
    }
  }

  // Partial counts of the words first..last - 1.
  SEMICON_FAST_INLINE static void accumulate(const uint8_t* codes, int64_t words, int64_t first,
                                             int64_t last, const uint64_t* queries,
                                             Vec (&counts)[R][V]) {
    count_word<true>(codes, words, first, queries, counts);
    for (int64_t word = first + 1; word < last; ++word) {
      count_word<false>(codes, words, word, queries, counts);
    }
  }

  // The distances of one step, one per lane.
  SEMICON_FAST_INLINE static void sums(const uint8_t* codes, int64_t words,
                                       const uint64_t* queries, Vec (&counts)[R][V]) {
    constexpr int64_t kOnce = Simd::kPartialWords;
    accumulate(codes, words, 0, words < kOnce ? words : kOnce, queries, counts);
    to_lanes(counts);
    for (int64_t first = kOnce; W == 0 && kOnce < kMaxWords && first < words; first += kOnce) {
      Vec more[R][V];
      accumulate(codes, words, first, words - first < kOnce ? words : first + kOnce, queries, more);
      to_lanes(more);
      for (int r = 0; r < R; ++r) {
        for (int v = 0; v < V; ++v) counts[r][v] = Simd::add_lanes(counts[r][v], more[r][v]);
      }
    }
  }

  SEMICON_FAST_INLINE static void to_lanes(Vec (&counts)[R][V]) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) counts[r][v] = Simd::template lanes<Lane>(counts[r][v]);
    }
  }

  // The smallest distance of any query to the codes in each lane of a step's registers.
  SEMICON_FAST_INLINE static Vec closest(const uint8_t* codes, int64_t words,
                                         const uint64_t* queries) {
    Vec least[V];
    if constexpr (W == 1) {
      // One register of codes at a time, so that never R * V counts are held at once.
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) {
        const Vec code = load(codes, 1, 0, v);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
          const Vec differing = Simd::xored(code, Simd::broadcast(queries[r]));
          const Vec count =
              Simd::template lanes<Lane>(Simd::template partial<Lane>(differing));
          least[v] = r == 0 ? count : Simd::least(least[v], count);
        }
      }
    } else {
      // Without this the compiler loads all R * W query words before the loop and spills them.
      asm("" : "+r"(queries));
      Vec counts[R][V];
      sums(codes, words, queries, counts);
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) {
        least[v] = counts[0][v];
#pragma GCC unroll 8
        for (int r = 1; r < R; ++r) least[v] = Simd::least(least[v], counts[r][v]);
      }
    }
#pragma GCC unroll 8
    for (int v = 1; v < V; ++v) least[0] = Simd::least(least[0], least[v]);
    return least[0];
  }

  static int64_t find(const uint8_t* codes, int64_t steps, int64_t words, const Tile& tile,
                      int32_t* hits) {
    if (W != 0) words = W;
    const uint64_t* queries = tile.queries;
    const Vec limit = Simd::template fill<Lane>(tile.limit);
    int64_t found = 0;
    // No branch depends on the data: the number of hits is advanced instead of jumping.
    for (int64_t step = 0; step < steps; ++step, codes += step_bytes(words)) {
      hits[found] = static_cast<int32_t>(step);
      found += Simd::template any_below<Lane>(closest(codes, words, queries), limit);
    }
    return found;
  }

  static void match(const uint8_t* codes, int64_t words, const Tile& tile, uint64_t* masks,
                    uint16_t* distances) {
    if (W != 0) words = W;
    Vec counts[R][V];
    sums(codes, words, tile.queries, counts);
    for (int r = 0; r < R; ++r) {
      const Vec limit = Simd::template fill<Lane>(tile.limits[r]);
      uint64_t mask = 0;
      for (int v = 0; v < V; ++v) {
        Simd::template store<Lane>(counts[r][v], distances + r * kCodes + v * kLanes<Lane>);
        mask |= Simd::template mask_below<Lane>(counts[r][v], limit) << (v * kLanes<Lane>);
      }
      masks[r] = mask;
    }
  }

  static void distances(const uint8_t* codes, int64_t steps, int64_t words, const uint64_t* queries,
                        uint16_t* distances, int64_t stride) {
    if (W != 0) words = W;
    for (int64_t step = 0; step < steps; ++step, codes += step_bytes(words)) {
      Vec counts[R][V];
      sums(codes, words, queries, counts);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        uint16_t* row = distances + r * stride + step * kCodes;
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) {
          Simd::template store<Lane>(counts[r][v], row + v * kLanes<Lane>);
        }
      }
    }
  }

  static Kernel kernel() { return {R, kCodes, &find, &match, &distances}; }
};

// Registers of codes per step: `wanted`, rounded to whole groups and limited to kStep codes.
template <class Lane>
constexpr int registers(int wanted) {
  const int most = kStep / kLanes<Lane>;
  const int some = wanted < most ? wanted : most;
  return some < kVectors ? kVectors : some / kVectors * kVectors;
}

template <class Lane>
Kernel short_kernel(int64_t queries) {
  if (queries > 4) return TileKernel<Lane, 1, 8, registers<Lane>(2)>::kernel();
  if (queries > 1) return TileKernel<Lane, 1, 4, registers<Lane>(4)>::kernel();
  return TileKernel<Lane, 1, 1, registers<Lane>(8)>::kernel();
}

// R * V counts are held at once here: 16 counts need the 32 registers of AVX-512 or NEON.
template <int W>
Kernel long_kernel(int64_t queries) {
  constexpr int kMost = Simd::kRegisters >= 32 ? 8 : 4;
  if (queries > 4) return TileKernel<uint64_t, W, kMost, registers<uint64_t>(2)>::kernel();
  if (queries > 1) return TileKernel<uint64_t, W, 4, registers<uint64_t>(2)>::kernel();
  return TileKernel<uint64_t, W, 1, registers<uint64_t>(4)>::kernel();
}

Kernel kernel(int lane_bytes, int64_t words, int64_t queries) {
  if constexpr (Simd::kShortestLane <= 2) {
    if (lane_bytes == 2) return short_kernel<uint16_t>(queries);
  }
  if constexpr (Simd::kShortestLane <= 4) {
    if (lane_bytes == 4) return short_kernel<uint32_t>(queries);
  }
  if (words == 1) return short_kernel<uint64_t>(queries);
  if (words == 2) return long_kernel<2>(queries);
  // From 3 words on a loop: when unrolled, the compiler adds in an order that spills every count.
  return long_kernel<0>(queries);
}
