// The loops of table searches with x86's POPCNT.
#if defined(__x86_64__) || defined(_M_X64)
#include <cstring>

#include "common/target.h"
#include "common/words.h"
#include "tables/tables_kernels.h"

SEMICON_FAST_TARGET_BEGIN("popcnt")

namespace semicon_fast {
namespace {

#include "tables/tables_loops.h"

}  // namespace

const TableKernels kTablesPopcnt{near<uint32_t>, near<uint64_t>, rows};

}  // namespace semicon_fast

SEMICON_FAST_TARGET_END
#endif
