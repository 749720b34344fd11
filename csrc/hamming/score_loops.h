// The inner loop of asymmetric search, written once over a register type `Simd`; included inside a
// target region and an anonymous namespace. Simd provides
//
//   Vec, kCodes                    a register of kCodes bytes
//   load(from), table(from)        kCodes bytes; 16 bytes, repeated
//   low(x), high(x)                the lower and upper four bits of each byte
//   look_up(table, x)              entry x of the table, for each byte
//   add8, add16, upper(x)          sums; the upper byte of each 16 bits
//   at_most(even, odd, limit)      bit i: whether the sum of code i is at most the limit; `odd` are
//                                  the sums of the odd codes in 16 bits, and `even` those of the
//                                  even ones + 256 times those of the odd ones, modulo 2^16

// R queries against V registers of codes: sums of all groups of four bits, without a carry from
// even to odd codes that is not taken off in the end.
template <int R, int V>
SEMICON_FAST_INLINE void compare(const uint8_t* columns, int64_t bytes, const ScoreQuery* queries,
                                 uint64_t* masks) {
  typename Simd::Vec even[R][V], odd[R][V];
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) even[r][v] = odd[r][v] = Simd::zero();
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
        const typename Simd::Vec sum =
            Simd::add8(Simd::look_up(first, low[v]), Simd::look_up(second, high[v]));
        even[r][v] = Simd::add16(even[r][v], sum);
        odd[r][v] = Simd::add16(odd[r][v], Simd::upper(sum));
      }
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) {
      masks[r] |= Simd::at_most(even[r][v], odd[r][v], queries[r].limit) << (v * Simd::kCodes % 64);
    }
  }
}

template <int R, int V>
void find_strips(const uint8_t* columns, int64_t strips, int64_t bytes, const ScoreQuery* queries,
                 uint64_t* masks) {
  for (int64_t s = 0; s < strips; ++s) {
    uint64_t found[R] = {};
    for (int64_t at = 0; at < kStrip; at += V * Simd::kCodes) {
      uint64_t part[R] = {};
      compare<R, V>(columns + s * bytes * kStrip + at, bytes, queries, part);
      for (int r = 0; r < R; ++r) found[r] |= part[r] << at;
    }
    for (int r = 0; r < R; ++r) masks[r * strips + s] = found[r];
  }
}

void find(const uint8_t* columns, int64_t strips, int64_t bytes, const ScoreQuery* queries,
          int count, uint64_t* masks) {
  if (count == kScoreQueries) {
    find_strips<kScoreQueries, 1>(columns, strips, bytes, queries, masks);
  } else {
    constexpr int kWide = Simd::kCodes < kStrip ? 2 : 1;
    for (int q = 0; q < count; ++q) {
      find_strips<1, kWide>(columns, strips, bytes, queries + q, masks + q * strips);
    }
  }
}
