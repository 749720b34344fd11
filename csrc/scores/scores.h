// Asymmetric search: real-valued outputs of a network against packed codes. Does not use torch.
//
// The score of outputs u with a code b of -1 and +1 is the sum of u_j b_j in float32, in a fixed
// order (see score_tables.h), so that it is the same on every instruction set.
#pragma once

#include <cstdint>

#include "hamming/hamming.h"

namespace semicon_fast {

// `count` rows of `bits` finite outputs (1..8 * bytes of a code); row i starts at data + i * stride.
struct Outputs {
  const float* data;
  int64_t count;
  int64_t bits;
  int64_t stride;
};

// The k codes with the largest scores, by (score descending, position ascending) -> scores (Q, k),
// positions (Q, k); 0 <= k <= N.
void score_topk(const Outputs& outputs, const Codes& database, int64_t k, int threads,
                float* scores, int64_t* positions);

}  // namespace semicon_fast
