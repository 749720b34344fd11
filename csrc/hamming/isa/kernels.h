// What an instruction set provides: three functions over blocks of codes, for each shape of code.
//
// A block holds codes as lanes: codes of up to 2, 4 or 8 bytes fill lanes of 16, 32 or 64 bits, and
// longer codes are `words` lanes of 64 bits, word w of eight neighbouring codes side by side. So 64
// bytes are one "group" of one word of 32, 16 or 8 codes, and a distance never needs a sum across
// lanes that belong to different codes.
#pragma once

#include <cstdint>

#include "hamming/hamming.h"

namespace semicon_fast {

constexpr int kTile = 8;       // queries in registers, at most
constexpr int kStep = 64;      // a multiple of every kernel's codes a step
constexpr int kGroupBytes = 64;

struct Tile {
  const uint64_t* queries;  // (kernel.queries, words); a short code fills its word by repetition
  int32_t limits[kTile];    // a code is wanted by query r where its distance < limits[r]
  int32_t limit;            // the largest of them
};

struct Kernel {
  int queries;  // queries a tile
  int step;     // codes a step, at most kStep

  // Numbers of the steps in which some query's distance is below tile.limit -> how many.
  // `hits` has room for `steps`.
  int64_t (*find)(const uint8_t* codes, int64_t steps, int64_t words, const Tile& tile,
                  int32_t* hits);
  // One step: masks (queries,), bit i where code i is wanted; distances (queries, step).
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
  // Codes first..first + count - 1 into lanes.
  void (*pack)(const Codes& codes, int64_t first, int64_t count, int lane_bytes, uint8_t* lanes);
  // The kernel for one shape that takes most of `queries` (>= 1) at a time.
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

// Fastest first; those this CPU and operating system support.
int available_isas(const Isa** isas, int room);
// The one in use: the fastest, unless set_isa chose another.
const Isa& active_isa();
// False, and nothing changes, if `name` is neither "auto" nor available.
bool set_isa(const char* name);

}  // namespace semicon_fast
