// CPU implementations of torch.ops.semicon_fast.hamming_*; the schemas are defined in Python.
// Included by ../library.cpp alone.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <string>
#include <tuple>
#include <vector>

#include "hamming/hamming.h"
#include "hamming/isa/kernels.h"
#include "hamming/operators.h"

namespace semicon_fast {
namespace {

using at::Tensor;

// A new tensor, backed by huge pages if it is large: faults on small pages take twice as long as
// the full ranking that writes to them.
Tensor fresh(at::IntArrayRef sizes, at::ScalarType type) {
  Tensor result = at::empty(sizes, type);
#if defined(__linux__)
  constexpr uintptr_t kPage = uintptr_t{2} << 20;
  const auto start = reinterpret_cast<uintptr_t>(result.mutable_data_ptr());
  const uintptr_t first = (start + kPage - 1) / kPage * kPage;
  const uintptr_t last = (start + result.nbytes()) / kPage * kPage;
  // Only advice: if it is refused, nothing changes.
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#endif
  return result;
}

int threads() { return at::in_parallel_region() ? 1 : at::get_num_threads(); }

std::tuple<Tensor, Tensor, Tensor> hamming_range(const Tensor& queries, const Tensor& database,
                                                 int64_t radius) {
  const Operands codes("hamming_range", queries, database);
  check_radius(radius);
  const RangeSearch found(codes.q(), codes.d(), radius, threads());
  Tensor lims = at::empty({queries.size(0) + 1}, at::kLong);
  std::copy(found.lims().begin(), found.lims().end(), lims.mutable_data_ptr<int64_t>());
  Tensor distances = at::empty({found.lims().back()}, at::kInt);
  Tensor positions = at::empty({found.lims().back()}, at::kLong);
  found.write(distances.mutable_data_ptr<int32_t>(), positions.mutable_data_ptr<int64_t>());
  return {lims, distances, positions};
}

// Groups whose contents are checked: all indices are in range and ascending where required.
struct CheckedGroups : GroupOperands {
  CheckedGroups(const char* op, const Operands& codes, const Tensor& groups_,
                const Tensor& members_, const Tensor& lims_)
      : GroupOperands(op, codes, groups_, members_, lims_) {
    const Groups g = lists();
    const int64_t size = codes.database.size(0);
    bool ascend = g.lims[0] == 0 && g.lims[count()] == members.size(0);
    for (int64_t i = 0; ascend && i < count(); ++i) ascend = g.lims[i] <= g.lims[i + 1];
    bool within = true, known = true;
    for (int64_t i = 0; ascend && i < count(); ++i) {
      int64_t previous = -1;
      for (int64_t m = g.lims[i]; m < g.lims[i + 1]; previous = g.members[m++]) {
        within = within && g.members[m] > previous && g.members[m] < size;
      }
    }
    for (int64_t q = 0; q < of.size(0); ++q) known = known && g.of[q] >= 0 && g.of[q] < count();
    check_contents(op, codes, *this, ascend, within, known);
  }
  int64_t wanted() const {
    const Groups g = lists();
    int64_t sum = 0;
    for (int64_t q = 0; q < of.size(0); ++q) sum += g.lims[g.of[q] + 1] - g.lims[g.of[q]];
    return sum;
  }
};

Tensor hamming_ranks(const Tensor& queries, const Tensor& database, const Tensor& groups,
                     const Tensor& members, const Tensor& lims) {
  const Operands codes("hamming_ranks", queries, database);
  const CheckedGroups wanted("hamming_ranks", codes, groups, members, lims);
  Tensor result = fresh({wanted.wanted()}, at::kLong);
  ranks(codes.q(), codes.d(), wanted.lists(), threads(), result.mutable_data_ptr<int64_t>());
  return result;
}

// The CPU, as operators.h needs it.
struct OnCpu {
  using Groups = CheckedGroups;

  explicit OnCpu(const Tensor&) {}
  Tensor fresh(at::IntArrayRef sizes, at::ScalarType type) {
    return semicon_fast::fresh(sizes, type);
  }
  void distance(const Operands& codes, int32_t* distances) {
    semicon_fast::distance(codes.q(), codes.d(), threads(), distances);
  }
  void topk(const Operands& codes, int64_t k, int32_t* distances, int64_t* positions) {
    semicon_fast::topk(codes.q(), codes.d(), k, threads(), distances, positions);
  }
  void histogram(const Operands& codes, int64_t* counts) {
    semicon_fast::histogram(codes.q(), codes.d(), threads(), counts);
  }
  void group_histogram(const Operands& codes, const Groups& groups, int64_t* counts) {
    semicon_fast::group_histogram(codes.q(), codes.d(), groups.lists(), threads(), counts);
  }
};

std::string isa() { return active_isa().name; }

// Fastest first.
std::vector<std::string> isas() {
  const Isa* found[8];
  const int count = available_isas(found, 8);
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) names.emplace_back(found[i]->name);
  return names;
}

bool use_isa(const std::string& name) { return set_isa(name.c_str()); }

double rate(int64_t bytes, double seconds) {
  TORCH_CHECK_VALUE(bytes >= 1 && bytes <= kMaxBytes && seconds > 0,
                    "_scan_rate: bytes must be 1 to ", kMaxBytes, " and seconds positive, got ",
                    bytes, " and ", seconds);
  return scan_rate(bytes, threads(), seconds);
}

}  // namespace
}  // namespace semicon_fast

TORCH_LIBRARY_FRAGMENT(semicon_fast, m) {
  m.def("_isa() -> str", &semicon_fast::isa);
  m.def("_isas() -> str[]", &semicon_fast::isas);
  m.def("_scan_rate(int bytes, float seconds) -> float", &semicon_fast::rate);
  m.def("_use_isa(str name) -> bool", &semicon_fast::use_isa);
}

TORCH_LIBRARY_IMPL(semicon_fast, CPU, m) {
  using semicon_fast::OnCpu;
  m.impl("hamming_distance", &semicon_fast::hamming_distance<OnCpu>);
  m.impl("hamming_topk", &semicon_fast::hamming_topk<OnCpu>);
  m.impl("hamming_topk_out", &semicon_fast::hamming_topk_out<OnCpu>);
  m.impl("hamming_range", &semicon_fast::hamming_range);
  m.impl("hamming_histogram", &semicon_fast::hamming_histogram<OnCpu>);
  m.impl("hamming_group_histogram", &semicon_fast::hamming_group_histogram<OnCpu>);
  m.impl("hamming_ranks", &semicon_fast::hamming_ranks);
}
