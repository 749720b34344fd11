// The CPU implementation of torch.ops.semicon_fast.score_topk; the schema is defined in Python.
// Included by ../library.cpp alone, after bindings.h.
#pragma once

#include <tuple>

#include "hamming/bindings.h"
#include "scores/scores.h"

namespace semicon_fast {
namespace {

std::tuple<Tensor, Tensor> score_topk_cpu(const Tensor& outputs, const Tensor& database,
                                          int64_t k) {
  const Tensor codes = rows("score_topk", "database", database);
  TORCH_CHECK_TYPE(outputs.scalar_type() == at::kFloat,
                   "score_topk: outputs must be float32, got ", outputs.scalar_type());
  TORCH_CHECK_VALUE(outputs.dim() == 2 && outputs.size(1) >= 1 &&
                        outputs.size(1) <= 8 * codes.size(1),
                    "score_topk: outputs must be (rows, bits) with 1 to ", 8 * codes.size(1),
                    " bits, got ", outputs.sizes());
  check_k("score_topk", codes, k);
  const Tensor given = outputs.contiguous();
  Tensor scores = fresh({outputs.size(0), k}, at::kFloat);
  Tensor positions = fresh({outputs.size(0), k}, at::kLong);
  const Outputs rows{given.const_data_ptr<float>(), given.size(0), given.size(1), given.size(1)};
  score_topk(rows, Operands::codes(codes), k, threads(), scores.mutable_data_ptr<float>(),
             positions.mutable_data_ptr<int64_t>());
  return {scores, positions};
}

}  // namespace
}  // namespace semicon_fast

TORCH_LIBRARY_IMPL(semicon_fast, CPU, m) { m.impl("score_topk", &semicon_fast::score_topk_cpu); }
