#pragma once

#include "hamming/hamming.h"

namespace semicon_fast {

// As topk, by a stable counting sort of all distances; stores those of one tile of queries, 2 bytes
// each.
void rank(const Codes& queries, const Codes& database, int64_t k, int threads, int32_t* distances,
          int64_t* positions);

}  // namespace semicon_fast
