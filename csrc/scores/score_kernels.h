// The interface of an instruction set for asymmetric search: which codes may be among the best.
//
// Each group of four bits picks one of 16 entries of a table, by a byte shuffle for many codes at
// once. Entries are how far a group's sum lies below its largest one, in whole steps rounded down,
// so that the sum over the groups is a lower bound of the distance to the largest score there is.
#pragma once

#include <cstdint>

#include "hamming/hamming.h"

namespace semicon_fast {

constexpr int64_t kStrip = 64;    // codes whose bytes are stored next to each other
constexpr int kScoreQueries = 4;  // queries that a kernel compares at a time, or one
// Codes of up to so many bytes are summed in eight bits, with saturation; longer ones, whose many
// roundings would find too many, in 16.
constexpr int64_t kNarrowBytes = 32;

struct ScoreQuery {
  // (2 * bytes, 16): for codes of more than kNarrowBytes, at most 127 and 65535 in sum.
  const uint8_t* tables;
  uint16_t limit;  // a code is found if its sum is at most this; 255 finds all shorter codes
};

struct ScoreKernel {
  const char* name;
  bool (*supported)();
  // columns (strips, bytes, kStrip), `count` queries, 1 or kScoreQueries -> masks (count, strips):
  // bit i is set if code i of the strip is found.
  void (*find)(const uint8_t* columns, int64_t strips, int64_t bytes, const ScoreQuery* queries,
               int count, uint64_t* masks);
};

extern const ScoreKernel kScoresScalar;
#if defined(__x86_64__) || defined(_M_X64)
extern const ScoreKernel kScoresAvx2;
extern const ScoreKernel kScoresAvx512;
#endif

// The kernel that goes with the instruction set in use (see active_isa).
const ScoreKernel& score_kernel();

// Copies codes first..first + count - 1 to columns (strips, bytes, kStrip), with zeros after the
// last code up to a whole strip.
void score_columns(const Codes& codes, int64_t first, int64_t count, uint8_t* columns);

}  // namespace semicon_fast
