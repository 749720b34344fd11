// CUDA implementations of torch.ops.semicon_fast.hamming_*; the schemas are defined in Python.
//
// Work is queued on the current stream of the tensors' device. Only hamming_range and hamming_ranks
// wait for the device, since the sizes of their results are computed there.
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <atomic>
#include <cstring>
#include <string>
#include <tuple>
#include <vector>

#include "hamming/operators.h"
#include "search.h"

namespace semicon_fast::cuda {
namespace {

using at::Tensor;

std::atomic<Path> forced_path{Path::kAutomatic};

// Device, stream and workspace of one call; its device is current during its lifetime. Workspace is
// freed at the end, and the allocator reuses it only for later work on the same stream.
class Call {
 public:
  explicit Call(const Tensor& on)
      : guard_(on.device()), options_(on.options().dtype(at::kByte)), device_(current_device()) {
    TORCH_CHECK(device_.capability >= 80, "semicon_fast: Hamming search on ", on.device(),
                " needs compute capability 8.0 or newer, got ", device_.capability / 10, ".",
                device_.capability % 10, "; search on the CPU or set SEMICON_FAST_BACKEND=reference");
  }
  Context context() {
    Settings settings;
    settings.path = forced_path.load(std::memory_order_relaxed);
    return {c10::cuda::getCurrentCUDAStream().stream(), {&Call::allocate, this}, device_, settings};
  }

 private:
  static void* allocate(void* self, size_t bytes) {
    auto* call = static_cast<Call*>(self);
    call->taken_.push_back(at::empty({static_cast<int64_t>(bytes)}, call->options_));
    return call->taken_.back().mutable_data_ptr();
  }

  c10::cuda::CUDAGuard guard_;
  at::TensorOptions options_;
  Device device_;
  std::vector<Tensor> taken_;
};

Tensor fresh(const Tensor& like, at::IntArrayRef sizes, at::ScalarType type) {
  return at::empty(sizes, like.options().dtype(type));
}

DeviceGroups lists(const GroupOperands& groups) {
  return {groups.lists(), groups.count(), groups.members.size(0)};
}

// A CUDA device, as operators.h needs it.
class OnCuda {
 public:
  // The contents are not checked, since that would wait for the device: the kernels ignore indices
  // that are out of range.
  using Groups = GroupOperands;

  explicit OnCuda(const Tensor& queries) : queries_(queries), call_(queries) {}
  Tensor fresh(at::IntArrayRef sizes, at::ScalarType type) {
    return cuda::fresh(queries_, sizes, type);
  }
  void distance(const Operands& codes, int32_t* distances) {
    cuda::distance(call_.context(), codes.q(), codes.d(), distances);
  }
  void topk(const Operands& codes, int64_t k, int32_t* distances, int64_t* positions) {
    cuda::topk(call_.context(), codes.q(), codes.d(), k, distances, positions);
  }
  void histogram(const Operands& codes, int64_t* counts) {
    cuda::histogram(call_.context(), codes.q(), codes.d(), counts);
  }
  void group_histogram(const Operands& codes, const Groups& groups, int64_t* counts) {
    cuda::group_histogram(call_.context(), codes.q(), codes.d(), lists(groups), counts);
  }

 private:
  const Tensor& queries_;
  Call call_;
};

std::tuple<Tensor, Tensor, Tensor> hamming_range(const Tensor& queries, const Tensor& database,
                                                 int64_t radius) {
  const Operands codes("hamming_range", queries, database);
  check_radius(radius);
  Call call(queries);
  Tensor lims = fresh(queries, {queries.size(0) + 1}, at::kLong);
  range_count(call.context(), codes.q(), codes.d(), radius, lims.mutable_data_ptr<int64_t>());
  const int64_t found = lims[queries.size(0)].item<int64_t>();
  Tensor distances = fresh(queries, {found}, at::kInt);
  Tensor positions = fresh(queries, {found}, at::kLong);
  range_write(call.context(), codes.q(), codes.d(), lims.const_data_ptr<int64_t>(),
              distances.mutable_data_ptr<int32_t>(), positions.mutable_data_ptr<int64_t>());
  return {lims, distances, positions};
}

// Total number of members of the queries' groups. The host has to read this number anyway, so the
// checks of the group vectors are read in the same transfer.
int64_t wanted(const char* op, const Operands& codes, const GroupOperands& groups) {
  const Tensor &of = groups.of, &members = groups.members, &lims = groups.lims;
  const int64_t count = groups.count(), held = members.size(0);
  const Tensor sizes = lims.diff();
  const Tensor ascend = (lims[0] == 0) & (lims[count] == held) & (sizes >= 0).all();
  const Tensor known = ((of >= 0) & (of < count)).all();
  Tensor within = ((members >= 0) & (members < codes.database.size(0))).all();
  if (held > 1) {
    // A member may be smaller than the previous one only at the beginning of a group.
    Tensor begins = at::zeros({held + 1}, members.options().dtype(at::kBool));
    begins.index_fill_(0, lims.clamp(0, held), true);
    const Tensor next = begins.slice(0, 1, held) | (members.diff() > 0);
    within = within & next.all();
  }
  Tensor total = at::zeros({}, lims.options());
  if (count > 0) total = sizes.index_select(0, of.clamp(0, count - 1)).sum();
  const Tensor facts = at::stack({total, ascend.to(at::kLong), within.to(at::kLong),
                                  known.to(at::kLong)}).cpu();
  const int64_t* fact = facts.const_data_ptr<int64_t>();
  check_contents(op, codes, groups, fact[1] != 0, fact[2] != 0, fact[3] != 0);
  return fact[0];
}

Tensor hamming_ranks(const Tensor& queries, const Tensor& database, const Tensor& groups,
                     const Tensor& members, const Tensor& lims) {
  const Operands codes("hamming_ranks", queries, database);
  const GroupOperands given("hamming_ranks", codes, groups, members, lims);
  Call call(queries);
  Tensor result = fresh(queries, {wanted("hamming_ranks", codes, given)}, at::kLong);
  ranks(call.context(), codes.q(), codes.d(), lists(given), result.mutable_data_ptr<int64_t>());
  return result;
}

bool path_named(const std::string& name, Path& path) {
  int place = 0;
  for (const char* known : kPathNames) {
    if (name == known) {
      path = static_cast<Path>(place);
      return true;
    }
    ++place;
  }
  return false;
}

std::vector<std::string> paths() { return {std::begin(kPathNames), std::end(kPathNames)}; }

bool use_path(const std::string& name) {
  Path path;
  if (!path_named(name, path)) return false;
  forced_path = path;
  return true;
}

// The path that a search with these queries takes on their device.
std::string path_of(const Tensor& queries) {
  const Tensor codes = rows("_cuda_path", "queries", queries);
  const c10::cuda::CUDAGuard guard(queries.device());
  const Path path = choose_path(current_device(), codes.size(0), codes.size(1));
  return kPathNames[static_cast<int>(path)];
}

// Runs the inner loop alone on the device of `on`; returns the number of pairs that are compared.
// The caller measures the time.
double compare(const Tensor& on, const std::string& name, int64_t bytes, int64_t iterations) {
  Path path;
  TORCH_CHECK_VALUE(path_named(name, path) && path >= Path::kPopcount,
                    "_cuda_compare_only: path must be popcount, binary or int8, got ", name);
  TORCH_CHECK_VALUE(bytes >= 1 && bytes <= kMaxBytes && iterations >= 1,
                    "_cuda_compare_only: bytes must be 1 to ", kMaxBytes,
                    " and iterations positive, got ", bytes, " and ", iterations);
  Call call(on);
  return compare_only(call.context(), path, bytes, iterations);
}

}  // namespace
}  // namespace semicon_fast::cuda

TORCH_LIBRARY_FRAGMENT(semicon_fast, m) {
  m.def("_cuda_paths() -> str[]", &semicon_fast::cuda::paths);
  m.def("_use_cuda_path(str name) -> bool", &semicon_fast::cuda::use_path);
  m.def("_cuda_path(Tensor queries) -> str", &semicon_fast::cuda::path_of);
  m.def("_cuda_compare_only(Tensor on, str path, int bytes, int iterations) -> float",
        &semicon_fast::cuda::compare);
}

TORCH_LIBRARY_IMPL(semicon_fast, CUDA, m) {
  using semicon_fast::cuda::OnCuda;
  m.impl("hamming_distance", &semicon_fast::hamming_distance<OnCuda>);
  m.impl("hamming_topk", &semicon_fast::hamming_topk<OnCuda>);
  m.impl("hamming_topk_out", &semicon_fast::hamming_topk_out<OnCuda>);
  m.impl("hamming_range", &semicon_fast::cuda::hamming_range);
  m.impl("hamming_histogram", &semicon_fast::hamming_histogram<OnCuda>);
  m.impl("hamming_group_histogram", &semicon_fast::hamming_group_histogram<OnCuda>);
  m.impl("hamming_ranks", &semicon_fast::cuda::hamming_ranks);
}
