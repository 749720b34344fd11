// The interface of an instruction set: three functions over blocks of codes, for each length of
// code.
//
// A block holds codes in lanes or in planes; computing a distance never needs a sum across vector
// lanes.
//
// Lanes: codes of up to 2, 4 or 8 bytes occupy lanes of 16, 32 or 64 bits. Longer codes occupy
// `words` lanes of 64 bits, with word w of eight consecutive codes stored next to each other. So 64
// bytes are one "group", one word of 32, 16 or 8 codes.
//
// Planes: plane p of kStep consecutive codes holds their p-th four bits, one code a byte; the planes
// of a step are stored one after another. A query is then a table of 16 bytes for each plane, the
// number of bits in which it differs from every value of those four, and one look-up adds a plane to
// the distances of a register of codes.
#pragma once

#include <cstdint>

#include "hamming/hamming.h"

namespace semicon_fast {

constexpr int kTile = 8;       // largest number of queries in registers
constexpr int kStep = 64;      // a multiple of every kernel's codes per step
constexpr int kGroupBytes = 64;
constexpr int kTableBytes = 16;

// How codes of one length are arranged for an instruction set.
struct Shape {
  int64_t bytes;
  int64_t words;   // 64-bit words per code
  int lane_bytes;  // 2, 4 or 8; the last also where there are several words or planes
  bool planes;

  // The arrangement that is faster for this many queries.
  Shape(int64_t bytes, const struct Isa& isa, int64_t queries);
  int64_t bits() const { return 8 * bytes; }
  // What a kernel's loops run over: words or planes per code.
  int64_t length() const { return planes ? 2 * bytes : words; }
  int64_t query_words() const { return planes ? 2 * bytes * kTableBytes / 8 : words; }
  // Bytes of `count` codes, rounded up to a whole step.
  int64_t packed_bytes(int64_t count) const {
    const int64_t code = planes ? 2 * bytes : words > 1 ? words * 8 : lane_bytes;
    return (count + kStep - 1) / kStep * kStep * code;
  }
  // Largest number of codes in a block: 16 KiB, half of the smallest L1 cache.
  int64_t block_codes() const;
};

struct Tile {
  // (kernel.queries, words), short codes repeated to fill the word; or (planes, kernel.queries)
  // tables.
  const uint64_t* queries;
  int32_t limits[kTile];    // a pair is found if query r's distance to the code is < limits[r]
  int32_t limit;            // the largest of the limits
};

struct Kernel {
  int queries;  // queries per tile
  int step;     // codes per step, at most kStep

  // Writes the numbers of the steps in which some query's distance is below tile.limit to `hits`
  // (steps,); returns how many there are. length: words or planes per code.
  int64_t (*find)(const uint8_t* codes, int64_t steps, int64_t length, const Tile& tile,
                  int32_t* hits);
  // One step: masks (queries,), bit i set if code i is below the query's limit; distances (queries,
  // step), undefined where a query's mask is 0.
  void (*match)(const uint8_t* codes, int64_t length, const Tile& tile, uint64_t* masks,
                uint16_t* distances);
  // All steps: distances (queries, stride).
  void (*distances)(const uint8_t* codes, int64_t steps, int64_t length, const uint64_t* queries,
                    uint16_t* distances, int64_t stride);
};

struct Isa {
  const char* name;
  bool (*supported)();
  int shortest_lane;  // bytes: lanes narrower than this are not provided
  // Copies codes first..first + count - 1 into lanes.
  void (*pack)(const Codes& codes, int64_t first, int64_t count, int lane_bytes, uint8_t* lanes);
  // The kernel for this code length with the most queries per tile that suits `queries` (>= 1).
  Kernel (*kernel)(int lane_bytes, int64_t words, int64_t queries);
  // Planes are used from this number of queries on, for codes of more than 2 bytes; 0: never.
  int64_t plane_queries = 0;
  // Copies codes first..first + count - 1 into planes.
  void (*pack_planes)(const Codes& codes, int64_t first, int64_t count, uint8_t* planes) = nullptr;
  Kernel (*plane_kernel)(int64_t bytes) = nullptr;
};

inline Kernel kernel_for(const Isa& isa, const Shape& shape, int64_t queries) {
  if (shape.planes) return isa.plane_kernel(shape.bytes);
  return isa.kernel(shape.lane_bytes, shape.words, queries);
}

extern const Isa kScalar;
#if defined(__x86_64__) || defined(_M_X64)
extern const Isa kAvx2;
extern const Isa kAvx512;
extern const Isa kAvx512Vpopcnt;
#elif defined(__aarch64__)
extern const Isa kNeon;
#endif

// The instruction sets supported by this CPU and operating system, fastest first; returns how many.
int available_isas(const Isa** isas, int room);
// The instruction set in use: the fastest, unless set_isa chose another.
const Isa& active_isa();
// Returns false and changes nothing if `name` is neither "auto" nor available.
bool set_isa(const char* name);

}  // namespace semicon_fast
