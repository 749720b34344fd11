// The bodies of torch.ops.semicon_fast.hamming_* that are the same on every device. Included by the
// bindings only.
//
// A Device is made from the queries for each call and provides
//
//   Tensor fresh(sizes, type)              an uninitialised result
//   Groups                                 GroupOperands, with the checks of contents that it makes
//   distance, topk, histogram, group_histogram      the search on Operands (and Groups)
#pragma once

#include <tuple>

#include "hamming/operands.h"

namespace semicon_fast {

template <class Device>
at::Tensor hamming_distance(const at::Tensor& queries, const at::Tensor& database) {
  const Operands codes("hamming_distance", queries, database);
  Device on(queries);
  at::Tensor result = on.fresh({queries.size(0), database.size(0)}, at::kInt);
  on.distance(codes, result.mutable_data_ptr<int32_t>());
  return result;
}

template <class Device>
std::tuple<at::Tensor, at::Tensor> hamming_topk(const at::Tensor& queries,
                                                const at::Tensor& database, int64_t k) {
  const Operands codes("hamming_topk", queries, database);
  check_k("hamming_topk", database, k);
  Device on(queries);
  at::Tensor distances = on.fresh({queries.size(0), k}, at::kInt);
  at::Tensor positions = on.fresh({queries.size(0), k}, at::kLong);
  on.topk(codes, k, distances.mutable_data_ptr<int32_t>(), positions.mutable_data_ptr<int64_t>());
  return {distances, positions};
}

template <class Device>
void hamming_topk_out(const at::Tensor& queries, const at::Tensor& database, int64_t k,
                      at::Tensor distances, at::Tensor positions) {
  const Operands codes("hamming_topk_out", queries, database);
  check_k("hamming_topk_out", database, k);
  check_out(queries, k, distances, positions);
  Device on(queries);
  on.topk(codes, k, distances.mutable_data_ptr<int32_t>(), positions.mutable_data_ptr<int64_t>());
}

template <class Device>
at::Tensor hamming_histogram(const at::Tensor& queries, const at::Tensor& database) {
  const Operands codes("hamming_histogram", queries, database);
  Device on(queries);
  at::Tensor result = on.fresh({queries.size(0), 8 * queries.size(1) + 1}, at::kLong);
  on.histogram(codes, result.mutable_data_ptr<int64_t>());
  return result;
}

template <class Device>
at::Tensor hamming_group_histogram(const at::Tensor& queries, const at::Tensor& database,
                                   const at::Tensor& groups, const at::Tensor& members,
                                   const at::Tensor& lims) {
  const Operands codes("hamming_group_histogram", queries, database);
  const typename Device::Groups given("hamming_group_histogram", codes, groups, members, lims);
  Device on(queries);
  at::Tensor result = on.fresh({queries.size(0), 8 * queries.size(1) + 1}, at::kLong);
  on.group_histogram(codes, given, result.mutable_data_ptr<int64_t>());
  return result;
}

}  // namespace semicon_fast
