// The loops of table searches without a target, and the choice between targets.
#include <cstring>

#include "common/target.h"
#include "common/words.h"
#include "hamming/isa/kernels.h"
#include "tables/tables_kernels.h"

namespace semicon_fast {
namespace {

#include "tables/tables_loops.h"

}  // namespace

const TableKernels kTablesScalar{near<uint32_t>, near<uint64_t>, rows};

const TableKernels& table_kernels() {
#if defined(__x86_64__) || defined(_M_X64)
  // Every processor with one of the vector instruction sets has POPCNT.
  if (&active_isa() != &kScalar) return kTablesPopcnt;
#endif
  return kTablesScalar;
}

}  // namespace semicon_fast
