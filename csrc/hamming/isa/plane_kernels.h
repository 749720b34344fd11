// The functions of kernels.h over planes, as templates over the registers of an instruction set, for
// those that look up 16 bytes at once. Included by an instruction set's file like tile_kernels.h,
// after `struct Simd`, which also has:
//
//   table(from)                16 bytes in every 16 bytes of a register
//   look_up(table, values)     table[value] for each byte; values are below 16
//   add_saturated(a, b), least_byte(a, b), zero(): bytes
//   any_byte_up_to(counts, most), byte_mask_up_to(counts, most): counts of bytes, unsigned
//   fill_bytes(n)
//   widen(counts, to), widen_add(counts, to): counts of bytes as uint16, in order
//
// Distances are summed in bytes that stop at 255. So a search for pairs below a limit of at most 255
// needs no more, however long the codes are; a distance does for more than 60 planes, whose sums are
// added up as uint16 in memory.

constexpr int kPlaneQueries = 4;                                      // per tile
constexpr int kPlaneVectors = kStep / static_cast<int>(sizeof(Vec));  // registers of codes per step
constexpr int64_t kByteSums = 60;                                     // planes: at most 240

struct PlaneSums {
  Vec of[kPlaneQueries][kPlaneVectors];

  SEMICON_FAST_INLINE void clear() {
#pragma GCC unroll 8
    for (int r = 0; r < kPlaneQueries; ++r) {
#pragma GCC unroll 8
      for (int v = 0; v < kPlaneVectors; ++v) of[r][v] = Simd::zero();
    }
  }

  // Adds `Count` planes.
  template <int Count>
  SEMICON_FAST_INLINE void add(const uint8_t* planes, const uint8_t* tables) {
#pragma GCC unroll 16
    for (int p = 0; p < Count; ++p) {
      Vec table[kPlaneQueries];
#pragma GCC unroll 8
      for (int r = 0; r < kPlaneQueries; ++r) {
        table[r] = Simd::table(tables + (p * kPlaneQueries + r) * kTableBytes);
      }
#pragma GCC unroll 8
      for (int v = 0; v < kPlaneVectors; ++v) {
        const Vec values = Simd::load(planes + p * kStep + v * sizeof(Vec));
#pragma GCC unroll 8
        for (int r = 0; r < kPlaneQueries; ++r) {
          of[r][v] = Simd::add_saturated(of[r][v], Simd::look_up(table[r], values));
        }
      }
      // Otherwise the compiler moves the loads of all planes before the loop and spills the sums.
#pragma GCC unroll 8
      for (int r = 0; r < kPlaneQueries; ++r) {
#pragma GCC unroll 8
        for (int v = 0; v < kPlaneVectors; ++v) asm("" : "+x"(of[r][v]));
      }
    }
  }

  // Adds the planes first..last - 1 of a step; both are multiples of U.
  template <int U>
  SEMICON_FAST_INLINE void add(const uint8_t* planes, const uint8_t* tables, int64_t first,
                               int64_t last) {
    const uint8_t* const end = planes + last * kStep;
    planes += first * kStep;
    tables += first * kPlaneQueries * kTableBytes;
    for (; planes != end; planes += U * kStep, tables += U * kPlaneQueries * kTableBytes) {
      add<U>(planes, tables);
    }
  }

  SEMICON_FAST_INLINE Vec least() const {
    Vec result = of[0][0];
#pragma GCC unroll 8
    for (int r = 0; r < kPlaneQueries; ++r) {
#pragma GCC unroll 8
      for (int v = 0; v < kPlaneVectors; ++v) result = Simd::least_byte(result, of[r][v]);
    }
    return result;
  }
};

// Distances below 255. U planes are added at a time; U divides their number.
template <int U>
struct PlaneKernel {
  // After how many planes a step of codes that have nothing to do with the queries is usually seen
  // to be beyond the limit. The distance in 4 c bits is then about 2 c, with a standard deviation of
  // sqrt(c); three of those are left to be exceeded by one pair in a thousand.
  static int64_t cut(int64_t planes, int32_t limit) {
    const double root = (3 + std::sqrt(9 + 8.0 * limit)) / 4;
    const auto after = (static_cast<int64_t>(root * root) + U) / U * U;
    return after < planes ? after : planes;
  }

  static int64_t find(const uint8_t* codes, int64_t steps, int64_t planes, const Tile& tile,
                      int32_t* hits) {
    const auto* const tables = reinterpret_cast<const uint8_t*>(tile.queries);
    const Vec limit = Simd::fill_bytes(tile.limit - 1);
    const int64_t cut = PlaneKernel::cut(planes, tile.limit);
    int64_t found = 0;
    for (int64_t step = 0; step < steps; ++step, codes += planes * kStep) {
      PlaneSums sums;
      sums.clear();
      sums.add<U>(codes, tables, 0, cut);
      if (!Simd::any_byte_up_to(sums.least(), limit)) continue;
      if (cut != planes) {
        sums.add<U>(codes, tables, cut, planes);
        if (!Simd::any_byte_up_to(sums.least(), limit)) continue;
      }
      hits[found++] = static_cast<int32_t>(step);
    }
    return found;
  }

  static void match(const uint8_t* codes, int64_t planes, const Tile& tile, uint64_t* masks,
                    uint16_t* distances) {
    PlaneSums sums;
    sums.clear();
    sums.add<U>(codes, reinterpret_cast<const uint8_t*>(tile.queries), 0, planes);
    for (int r = 0; r < kPlaneQueries; ++r) {
      masks[r] = 0;
      if (tile.limits[r] <= 0) continue;
      const Vec limit = Simd::fill_bytes(tile.limits[r] - 1);
      for (int v = 0; v < kPlaneVectors; ++v) {
        masks[r] |= Simd::byte_mask_up_to(sums.of[r][v], limit) << (v * sizeof(Vec));
      }
      if (masks[r] == 0) continue;
      for (int v = 0; v < kPlaneVectors; ++v) {
        Simd::widen(sums.of[r][v], distances + r * kStep + v * sizeof(Vec));
      }
    }
  }

  static void distances(const uint8_t* codes, int64_t steps, int64_t planes,
                        const uint64_t* queries, uint16_t* distances, int64_t stride) {
    const auto* const tables = reinterpret_cast<const uint8_t*>(queries);
    for (int64_t step = 0; step < steps; ++step, codes += planes * kStep) {
      PlaneSums sums;
      sums.clear();
      sums.add<U>(codes, tables, 0, planes);
      for (int r = 0; r < kPlaneQueries; ++r) {
        uint16_t* const row = distances + r * stride + step * kStep;
        for (int v = 0; v < kPlaneVectors; ++v) {
          Simd::widen(sums.of[r][v], row + v * sizeof(Vec));
        }
      }
    }
  }

  static Kernel kernel() { return {kPlaneQueries, kStep, &find, &match, &distances}; }
};

// Codes of more than kByteSums planes, which are added in turns of that many.
template <int U>
struct LongPlaneKernel {
  // Sums of a step (queries, codes).
  using Sums = uint16_t[kPlaneQueries][kStep];

  SEMICON_FAST_INLINE static void add_all(const uint8_t* codes, int64_t planes,
                                          const uint8_t* tables, Sums& total) {
    for (int64_t first = 0; first < planes; first += kByteSums) {
      const int64_t last = planes - first < kByteSums ? planes : first + kByteSums;
      PlaneSums sums;
      sums.clear();
      sums.add<U>(codes, tables, first, last);
#pragma GCC unroll 8
      for (int r = 0; r < kPlaneQueries; ++r) {
#pragma GCC unroll 8
        for (int v = 0; v < kPlaneVectors; ++v) {
          uint16_t* const to = total[r] + v * sizeof(Vec);
          if (first == 0) {
            Simd::widen(sums.of[r][v], to);
          } else {
            Simd::widen_add(sums.of[r][v], to);
          }
        }
      }
    }
  }

  static int64_t find(const uint8_t* codes, int64_t steps, int64_t planes, const Tile& tile,
                      int32_t* hits) {
    const auto* const tables = reinterpret_cast<const uint8_t*>(tile.queries);
    if (tile.limit <= 255) return PlaneKernel<U>::find(codes, steps, planes, tile, hits);
    const Vec limit = Simd::template fill<uint16_t>(tile.limit);
    alignas(64) Sums total{};
    int64_t found = 0;
    for (int64_t step = 0; step < steps; ++step, codes += planes * kStep) {
      add_all(codes, planes, tables, total);
      const auto* const values = reinterpret_cast<const uint8_t*>(total);
      Vec least = Simd::load(values);
#pragma GCC unroll 32
      for (size_t at = sizeof(Vec); at < sizeof total; at += sizeof(Vec)) {
        least = Simd::least(least, Simd::load(values + at));
      }
      hits[found] = static_cast<int32_t>(step);
      found += Simd::template any_below<uint16_t>(least, limit);
    }
    return found;
  }

  static void match(const uint8_t* codes, int64_t planes, const Tile& tile, uint64_t* masks,
                    uint16_t* distances) {
    constexpr int kCodes = kLanes<uint16_t>;
    alignas(64) Sums total{};
    add_all(codes, planes, reinterpret_cast<const uint8_t*>(tile.queries), total);
    for (int r = 0; r < kPlaneQueries; ++r) {
      const Vec limit = Simd::template fill<uint16_t>(tile.limits[r]);
      masks[r] = 0;
      for (int at = 0; at < kStep; at += kCodes) {
        const Vec counts = Simd::load(reinterpret_cast<const uint8_t*>(total[r] + at));
        masks[r] |= Simd::template mask_below<uint16_t>(counts, limit) << at;
        Simd::template store<uint16_t>(counts, distances + r * kStep + at);
      }
    }
  }

  static void distances(const uint8_t* codes, int64_t steps, int64_t planes,
                        const uint64_t* queries, uint16_t* distances, int64_t stride) {
    alignas(64) Sums total{};
    for (int64_t step = 0; step < steps; ++step, codes += planes * kStep) {
      add_all(codes, planes, reinterpret_cast<const uint8_t*>(queries), total);
      for (int r = 0; r < kPlaneQueries; ++r) {
        std::memcpy(distances + r * stride + step * kStep, total[r], sizeof total[r]);
      }
    }
  }

  static Kernel kernel() { return {kPlaneQueries, kStep, &find, &match, &distances}; }
};

Kernel plane_kernel(int64_t bytes) {
  if (2 * bytes <= kByteSums) {
    return bytes % 2 == 0 ? PlaneKernel<4>::kernel() : PlaneKernel<2>::kernel();
  }
  return bytes % 2 == 0 ? LongPlaneKernel<4>::kernel() : LongPlaneKernel<2>::kernel();
}
