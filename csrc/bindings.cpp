// The CPU implementations of torch.ops.semicon_fast.hamming_*; schemas live in Python.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <array>
#include <string>
#include <tuple>
#include <vector>

#include "hamming.h"
#include "kernels.h"

namespace semicon_fast {
namespace {

using at::Tensor;

// Rows keep their stride, so a slice of rows is not copied.
Tensor rows(const char* op, const char* name, const Tensor& codes) {
  TORCH_CHECK_TYPE(codes.scalar_type() == at::kByte, op, ": ", name, " must be packed uint8, got ",
                   codes.scalar_type());
  TORCH_CHECK_VALUE(codes.dim() == 2 && codes.size(1) >= 1 && codes.size(1) <= kMaxBytes, op, ": ",
                    name, " must be (rows, bytes) with 1 to ", kMaxBytes, " bytes, got ",
                    codes.sizes());
  const bool whole = codes.stride(1) == 1 || codes.size(1) == 1;
  return whole && codes.stride(0) >= 0 ? codes : codes.contiguous();
}

struct Arguments {
  Tensor queries, database;

  Arguments(const char* op, const Tensor& q, const Tensor& d)
      : queries(rows(op, "queries", q)), database(rows(op, "database", d)) {
    TORCH_CHECK_VALUE(q.size(1) == d.size(1), op,
                      ": queries and database must have equally many bytes a code, got ", q.size(1),
                      " and ", d.size(1));
  }
  static Codes codes(const Tensor& t) {
    return {t.const_data_ptr<uint8_t>(), t.size(0), t.size(1), t.stride(0)};
  }
  Codes q() const { return codes(queries); }
  Codes d() const { return codes(database); }
};

// A new tensor, on large pages where it is large: faults on small ones take twice as long as a full
// ranking that writes to them.
Tensor fresh(at::IntArrayRef sizes, at::ScalarType type) {
  Tensor result = at::empty(sizes, type);
#if defined(__linux__)
  constexpr uintptr_t kPage = uintptr_t{2} << 20;
  const auto start = reinterpret_cast<uintptr_t>(result.mutable_data_ptr());
  const uintptr_t first = (start + kPage - 1) / kPage * kPage;
  const uintptr_t last = (start + result.nbytes()) / kPage * kPage;
  // Advice: nothing is lost where it is refused.
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#endif
  return result;
}

int threads() { return at::in_parallel_region() ? 1 : at::get_num_threads(); }

Tensor hamming_distance(const Tensor& queries, const Tensor& database) {
  const Arguments codes("hamming_distance", queries, database);
  Tensor result = fresh({queries.size(0), database.size(0)}, at::kInt);
  distance(codes.q(), codes.d(), threads(), result.mutable_data_ptr<int32_t>());
  return result;
}

std::tuple<Tensor, Tensor> hamming_topk(const Tensor& queries, const Tensor& database, int64_t k) {
  const Arguments codes("hamming_topk", queries, database);
  TORCH_CHECK_VALUE(k >= 0 && k <= database.size(0), "hamming_topk: k must be >= 0 and <= ",
                    database.size(0), ", the size of the database, got ", k);
  Tensor distances = fresh({queries.size(0), k}, at::kInt);
  Tensor positions = fresh({queries.size(0), k}, at::kLong);
  topk(codes.q(), codes.d(), k, threads(), distances.mutable_data_ptr<int32_t>(),
       positions.mutable_data_ptr<int64_t>());
  return {distances, positions};
}

void hamming_topk_out(const Tensor& queries, const Tensor& database, int64_t k, Tensor distances,
                      Tensor positions) {
  const Arguments codes("hamming_topk_out", queries, database);
  const std::array<int64_t, 2> shape{queries.size(0), k};
  TORCH_CHECK_VALUE(k >= 0 && k <= database.size(0), "hamming_topk_out: k must be >= 0 and <= ",
                    database.size(0), ", the size of the database, got ", k);
  const auto check = [&](const char* name, const Tensor& t, at::ScalarType type) {
    TORCH_CHECK_TYPE(t.scalar_type() == type, "hamming_topk_out: ", name, " must be ", type,
                     ", got ", t.scalar_type());
    TORCH_CHECK_VALUE(t.sizes() == at::IntArrayRef(shape) && t.is_contiguous(),
                      "hamming_topk_out: ", name, " must be contiguous ", at::IntArrayRef(shape),
                      ", got ", t.sizes(), t.is_contiguous() ? "" : " with other strides");
  };
  check("distances", distances, at::kInt);
  check("positions", positions, at::kLong);
  topk(codes.q(), codes.d(), k, threads(), distances.mutable_data_ptr<int32_t>(),
       positions.mutable_data_ptr<int64_t>());
}

std::tuple<Tensor, Tensor, Tensor> hamming_range(const Tensor& queries, const Tensor& database,
                                                 int64_t radius) {
  const Arguments codes("hamming_range", queries, database);
  TORCH_CHECK_VALUE(radius >= 0, "hamming_range: radius must be >= 0, got ", radius);
  const Ball ball(codes.q(), codes.d(), radius, threads());
  Tensor lims = at::empty({queries.size(0) + 1}, at::kLong);
  std::copy(ball.lims().begin(), ball.lims().end(), lims.mutable_data_ptr<int64_t>());
  Tensor distances = at::empty({ball.lims().back()}, at::kInt);
  Tensor positions = at::empty({ball.lims().back()}, at::kLong);
  ball.write(distances.mutable_data_ptr<int32_t>(), positions.mutable_data_ptr<int64_t>());
  return {lims, distances, positions};
}

Tensor hamming_histogram(const Tensor& queries, const Tensor& database) {
  const Arguments codes("hamming_histogram", queries, database);
  Tensor result = at::empty({queries.size(0), 8 * queries.size(1) + 1}, at::kLong);
  histogram(codes.q(), codes.d(), threads(), result.mutable_data_ptr<int64_t>());
  return result;
}

// Groups as hamming.h has them, and the tensors that hold them: int64 vectors, and every index in
// them within what it indexes.
struct CheckedGroups {
  Tensor of, members, lims;

  CheckedGroups(const char* op, const Arguments& codes, const Tensor& groups_,
                const Tensor& members_, const Tensor& lims_)
      : of(groups_.contiguous()), members(members_.contiguous()), lims(lims_.contiguous()) {
    for (const Tensor& t : {of, members, lims}) {
      TORCH_CHECK_TYPE(t.scalar_type() == at::kLong, op,
                       ": groups, members and lims must be int64, got ", t.scalar_type());
      TORCH_CHECK_VALUE(t.dim() == 1, op, ": groups, members and lims must be vectors, got ",
                        t.sizes());
    }
    const int64_t count = lims.size(0) - 1, size = codes.database.size(0);
    TORCH_CHECK_VALUE(of.size(0) == codes.queries.size(0), op, ": groups must have one entry for ",
                      "each of the ", codes.queries.size(0), " queries, got ", of.size(0));
    const Groups g = get();
    bool good = count >= 0 && g.lims[0] == 0 && g.lims[count] == members.size(0);
    for (int64_t i = 0; good && i < count; ++i) good = g.lims[i] <= g.lims[i + 1];
    TORCH_CHECK_VALUE(good, op, ": lims must ascend from 0 to the number of members, ",
                      members.size(0));
    for (int64_t i = 0; i < count; ++i) {
      int64_t previous = -1;
      for (int64_t m = g.lims[i]; m < g.lims[i + 1]; previous = g.members[m++]) {
        good = good && g.members[m] > previous && g.members[m] < size;
      }
    }
    TORCH_CHECK_VALUE(good, op, ": members must be positions in the database of ", size,
                      " codes, ascending within a group");
    for (int64_t q = 0; q < of.size(0); ++q) good = good && g.of[q] >= 0 && g.of[q] < count;
    TORCH_CHECK_VALUE(good, op, ": groups must be at least 0 and less than ", count);
  }
  Groups get() const {
    return {of.const_data_ptr<int64_t>(), members.const_data_ptr<int64_t>(),
            lims.const_data_ptr<int64_t>()};
  }
  int64_t wanted() const {
    const Groups g = get();
    int64_t sum = 0;
    for (int64_t q = 0; q < of.size(0); ++q) sum += g.lims[g.of[q] + 1] - g.lims[g.of[q]];
    return sum;
  }
};

Tensor hamming_ranks(const Tensor& queries, const Tensor& database, const Tensor& groups,
                     const Tensor& members, const Tensor& lims) {
  const Arguments codes("hamming_ranks", queries, database);
  const CheckedGroups wanted("hamming_ranks", codes, groups, members, lims);
  Tensor result = fresh({wanted.wanted()}, at::kLong);
  ranks(codes.q(), codes.d(), wanted.get(), threads(), result.mutable_data_ptr<int64_t>());
  return result;
}

Tensor hamming_group_histogram(const Tensor& queries, const Tensor& database, const Tensor& groups,
                               const Tensor& members, const Tensor& lims) {
  const Arguments codes("hamming_group_histogram", queries, database);
  const CheckedGroups wanted("hamming_group_histogram", codes, groups, members, lims);
  Tensor result = at::empty({queries.size(0), 8 * queries.size(1) + 1}, at::kLong);
  group_histogram(codes.q(), codes.d(), wanted.get(), threads(),
                  result.mutable_data_ptr<int64_t>());
  return result;
}

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
  m.impl("hamming_distance", &semicon_fast::hamming_distance);
  m.impl("hamming_topk", &semicon_fast::hamming_topk);
  m.impl("hamming_topk_out", &semicon_fast::hamming_topk_out);
  m.impl("hamming_range", &semicon_fast::hamming_range);
  m.impl("hamming_histogram", &semicon_fast::hamming_histogram);
  m.impl("hamming_group_histogram", &semicon_fast::hamming_group_histogram);
  m.impl("hamming_ranks", &semicon_fast::hamming_ranks);
}
