// The inner loops of table searches: compare a code with listed codes, or two lists with each
// other.
#pragma once

#include <cstdint>

#include "hamming/hamming.h"

namespace semicon_fast {

struct TableKernels {
  // Compares a code with rows `positions` (count,) of `codes`, which should be in cache. Writes the
  // places in `positions` of those at distance <= most, and their distances; returns how many.
  int64_t (*near32)(const Codes& codes, const uint64_t* query, const uint32_t* positions,
                    int64_t count, int64_t most, uint32_t* places, uint16_t* distances);
  int64_t (*near64)(const Codes& codes, const uint64_t* query, const uint64_t* positions,
                    int64_t count, int64_t most, uint32_t* places, uint16_t* distances);
  // Compares a code of `words` words with rows (count, words). Same results.
  int64_t (*rows)(const uint64_t* query, const uint64_t* rows, int64_t count, int64_t words,
                  int64_t most, uint32_t* places, uint16_t* distances);
};

extern const TableKernels kTablesScalar;
#if defined(__x86_64__) || defined(_M_X64)
extern const TableKernels kTablesPopcnt;
#endif

// Those that suit the instruction set in use.
const TableKernels& table_kernels();

}  // namespace semicon_fast
