// The inner loops of asymmetric search, written once over a register type `Simd`; included inside a
// target region and an anonymous namespace. Simd provides
//
//   Vec, kCodes                    a register of kCodes bytes
//   zero(), load(from)             kCodes bytes
//   table(from)                    16 bytes, repeated
//   low(x), high(x)                the lower and upper four bits of each byte
//   look_up(table, x)              entry x of the table, for each byte
//   add8, saturated8, add16        sums
//   upper(x)                       the upper byte of each 16 bits
//   at_most8(sums, limit)          bit i: whether byte i is at most the limit
//   at_most16(even, odd, limit)    the same of sums in 16 bits: `odd` are those of the odd codes,
//                                  `even` those of the even ones + 256 times the odd ones

// The sums of one query for kCodes codes, in eight bits.
struct Narrow {
  typename Simd::Vec sums;

  SEMICON_FAST_INLINE void clear() { sums = Simd::zero(); }
  SEMICON_FAST_INLINE void add(typename Simd::Vec first, typename Simd::Vec second) {
    sums = Simd::saturated8(Simd::saturated8(sums, first), second);
  }
  SEMICON_FAST_INLINE uint64_t at_most(uint16_t limit) const {
    return Simd::at_most8(sums, static_cast<uint8_t>(limit));
  }
};

// In 16 bits: what the odd codes add to the sums of the even ones is taken off in the end.
struct Wide {
  typename Simd::Vec even, odd;

  SEMICON_FAST_INLINE void clear() { even = odd = Simd::zero(); }
  SEMICON_FAST_INLINE void add(typename Simd::Vec first, typename Simd::Vec second) {
    const typename Simd::Vec sum = Simd::add8(first, second);
    even = Simd::add16(even, sum);
    odd = Simd::add16(odd, Simd::upper(sum));
  }
  SEMICON_FAST_INLINE uint64_t at_most(uint16_t limit) const {
    return Simd::at_most16(even, odd, limit);
  }
};

// R queries against V registers of codes -> masks (R,).
template <class Sums, int R, int V>
SEMICON_FAST_INLINE void compare(const uint8_t* columns, int64_t bytes, const ScoreQuery* queries,
                                 uint64_t* masks) {
  Sums sums[R][V];
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) sums[r][v].clear();
  }
  for (int64_t b = 0; b < bytes; ++b) {
    typename Simd::Vec low[V], high[V];
    for (int v = 0; v < V; ++v) {
      const typename Simd::Vec x = Simd::load(columns + b * kStrip + v * Simd::kCodes);
      low[v] = Simd::low(x);
      high[v] = Simd::high(x);
    }
    for (int r = 0; r < R; ++r) {
      const uint8_t* const tables = queries[r].tables + 32 * b;
      const typename Simd::Vec first = Simd::table(tables), second = Simd::table(tables + 16);
      for (int v = 0; v < V; ++v) {
        sums[r][v].add(Simd::look_up(first, low[v]), Simd::look_up(second, high[v]));
      }
    }
  }
  for (int r = 0; r < R; ++r) {
    masks[r] = 0;
    for (int v = 0; v < V; ++v) {
      masks[r] |= sums[r][v].at_most(queries[r].limit) << (v * Simd::kCodes % 64);
    }
  }
}

template <class Sums, int R, int V>
void find_strips(const uint8_t* columns, int64_t strips, int64_t bytes, const ScoreQuery* queries,
                 uint64_t* masks) {
  for (int64_t s = 0; s < strips; ++s) {
    uint64_t found[R] = {};
    for (int64_t at = 0; at < kStrip; at += V * Simd::kCodes) {
      uint64_t part[R];
      compare<Sums, R, V>(columns + s * bytes * kStrip + at, bytes, queries, part);
      for (int r = 0; r < R; ++r) found[r] |= part[r] << at;
    }
    for (int r = 0; r < R; ++r) masks[r * strips + s] = found[r];
  }
}

template <class Sums>
void find_sums(const uint8_t* columns, int64_t strips, int64_t bytes, const ScoreQuery* queries,
               int count, uint64_t* masks) {
  constexpr int kTwo = Simd::kCodes < kStrip ? 2 : 1;
  if (count == kScoreQueries) {
    find_strips<Sums, kScoreQueries, 1>(columns, strips, bytes, queries, masks);
  } else {
    find_strips<Sums, 1, kTwo>(columns, strips, bytes, queries, masks);
  }
}

void find(const uint8_t* columns, int64_t strips, int64_t bytes, const ScoreQuery* queries,
          int count, uint64_t* masks) {
  const auto run = bytes <= kNarrowBytes ? find_sums<Narrow> : find_sums<Wide>;
  run(columns, strips, bytes, queries, count, masks);
}
