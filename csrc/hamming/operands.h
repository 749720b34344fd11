// Checks the tensors passed to torch.ops.semicon_fast.hamming_*, identically on every device:
// dtypes, shapes, strides and devices, not contents. Included by the bindings only.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include <array>

#include "hamming/hamming.h"

namespace semicon_fast {

// `codes` as packed codes; the row stride is kept, so that a slice of rows is not copied.
inline at::Tensor rows(const char* op, const char* name, const at::Tensor& codes) {
  TORCH_CHECK_TYPE(codes.scalar_type() == at::kByte, op, ": ", name, " must be packed uint8, got ",
                   codes.scalar_type());
  TORCH_CHECK_VALUE(codes.dim() == 2 && codes.size(1) >= 1 && codes.size(1) <= kMaxBytes, op, ": ",
                    name, " must be (rows, bytes) with 1 to ", kMaxBytes, " bytes, got ",
                    codes.sizes());
  const bool whole = codes.stride(1) == 1 || codes.size(1) == 1;
  return whole && codes.stride(0) >= 0 ? codes : codes.contiguous();
}

struct Operands {
  at::Tensor queries, database;

  Operands(const char* op, const at::Tensor& q, const at::Tensor& d)
      : queries(rows(op, "queries", q)), database(rows(op, "database", d)) {
    TORCH_CHECK_VALUE(q.size(1) == d.size(1), op,
                      ": queries and database must have equally many bytes per code, got ",
                      q.size(1), " and ", d.size(1));
    TORCH_CHECK_VALUE(q.device() == d.device(), op,
                      ": queries and database must be on one device, got ", q.device(), " and ",
                      d.device());
  }
  static Codes codes(const at::Tensor& t) {
    return {t.const_data_ptr<uint8_t>(), t.size(0), t.size(1), t.stride(0)};
  }
  Codes q() const { return codes(queries); }
  Codes d() const { return codes(database); }
};

inline void check_k(const char* op, const at::Tensor& database, int64_t k) {
  TORCH_CHECK_VALUE(k >= 0 && k <= database.size(0), op, ": k must be >= 0 and <= ",
                    database.size(0), ", the size of the database, got ", k);
}

inline void check_radius(int64_t radius) {
  TORCH_CHECK_VALUE(radius >= 0, "hamming_range: radius must be >= 0, got ", radius);
}

// Checks the output tensors of hamming_topk_out.
inline void check_out(const at::Tensor& queries, int64_t k, const at::Tensor& distances,
                      const at::Tensor& positions) {
  const std::array<int64_t, 2> shape{queries.size(0), k};
  const auto check = [&](const char* name, const at::Tensor& t, at::ScalarType type) {
    TORCH_CHECK_TYPE(t.scalar_type() == type, "hamming_topk_out: ", name, " must be ", type,
                     ", got ", t.scalar_type());
    TORCH_CHECK_VALUE(t.sizes() == at::IntArrayRef(shape) && t.is_contiguous(),
                      "hamming_topk_out: ", name, " must be contiguous ", at::IntArrayRef(shape),
                      ", got ", t.sizes(), t.is_contiguous() ? "" : " with other strides");
    TORCH_CHECK_VALUE(t.device() == queries.device(), "hamming_topk_out: ", name, " must be on ",
                      queries.device(), ", got ", t.device());
  };
  check("distances", distances, at::kInt);
  check("positions", positions, at::kLong);
}

// The three vectors that describe the queries' groups (see Groups in hamming.h).
struct GroupOperands {
  at::Tensor of, members, lims;

  GroupOperands(const char* op, const Operands& codes, const at::Tensor& groups_,
                const at::Tensor& members_, const at::Tensor& lims_)
      : of(groups_.contiguous()), members(members_.contiguous()), lims(lims_.contiguous()) {
    for (const at::Tensor& t : {of, members, lims}) {
      TORCH_CHECK_TYPE(t.scalar_type() == at::kLong, op,
                       ": groups, members and lims must be int64, got ", t.scalar_type());
      TORCH_CHECK_VALUE(t.dim() == 1, op, ": groups, members and lims must be vectors, got ",
                        t.sizes());
      TORCH_CHECK_VALUE(t.device() == codes.queries.device(), op,
                        ": groups, members and lims must be on ", codes.queries.device(), ", got ",
                        t.device());
    }
    TORCH_CHECK_VALUE(of.size(0) == codes.queries.size(0), op, ": groups must have one entry for ",
                      "each of the ", codes.queries.size(0), " queries, got ", of.size(0));
    TORCH_CHECK_VALUE(count() >= 0, op, ": lims must ascend from 0 to the number of members, ",
                      members.size(0));
  }
  int64_t count() const { return lims.size(0) - 1; }
  Groups lists() const {
    return {of.const_data_ptr<int64_t>(), members.const_data_ptr<int64_t>(),
            lims.const_data_ptr<int64_t>()};
  }
};

// Raises the error for invalid contents of the group vectors.
inline void check_contents(const char* op, const Operands& codes, const GroupOperands& groups,
                           bool lims_good, bool members_good, bool groups_good) {
  TORCH_CHECK_VALUE(lims_good, op, ": lims must ascend from 0 to the number of members, ",
                    groups.members.size(0));
  TORCH_CHECK_VALUE(members_good, op, ": members must be positions in the database of ",
                    codes.database.size(0), " codes, ascending within a group");
  TORCH_CHECK_VALUE(groups_good, op, ": groups must be at least 0 and less than ", groups.count());
}

}  // namespace semicon_fast
