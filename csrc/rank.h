#pragma once

#include "hamming.h"

namespace semicon_fast {

// As topk, by counting every distance twice: first how many there are, then where each goes.
void rank(const Codes& queries, const Codes& database, int64_t k, int threads, int32_t* distances,
          int64_t* positions);

}  // namespace semicon_fast
