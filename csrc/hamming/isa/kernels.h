// The interface of an instruction set: three functions over blocks of codes, for each length of
// code.
//
// A block holds codes in lanes: codes of up to 2, 4 or 8 bytes occupy lanes of 16, 32 or 64 bits.
// Longer codes occupy `words` lanes of 64 bits, with word w of eight consecutive codes stored next
// to each other. So 64 bytes are one "group", one word of 32, 16 or 8 codes, and computing a
// distance never needs a sum across vector lanes.
#pragma once

#include <cstdint>

#include "hamming/hamming.h"

namespace semicon_fast {

constexpr int kTile = 8;       // largest number of queries in registers
constexpr int kStep = 64;      // a multiple of every kernel's codes per step
constexpr int kGroupBytes = 64;

struct Tile {
  const uint64_t* queries;  // (kernel.queries, words); short codes are repeated to fill the word
  int32_t limits[kTile];    // a pair is found if query r's distance to the code is < limits[r]
  int32_t limit;            // the largest of the limits
};

struct Kernel {
  int queries;  // queries per tile
  int step;     // codes per step, at most kStep

  // Writes the numbers of the steps in which some query's distance is below tile.limit to `hits`
  // (steps,); returns how many there are.
  int64_t (*find)(const uint8_t* codes, int64_t steps, int64_t words, const Tile& tile,
                  int32_t* hits);
  // One step: masks (queries,), bit i set if code i is below the query's limit; distances (queries,
  // step).
  void (*match)(const uint8_t* codes, int64_t words, const Tile& tile, uint64_t* masks,
                uint16_t* distances);
  // All steps: distances (queries, stride).
  void (*distances)(const uint8_t* codes, int64_t steps, int64_t words, const uint64_t* queries,
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
};

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
