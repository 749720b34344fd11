// torch.ops.semicon_fast._tables_*: search in tables, for semicon_fast/ops/tables.py, which checks
// what users pass. Included by ../library.cpp alone, after bindings.h.
//
// A table is its piece (first bit, bits, address bits) and two tensors, offsets and positions, both
// int32 (read as uint32) or int64.
#pragma once

#include <limits>

#include "hamming/scan.h"
#include "tables/tables.h"
#include "tables/tables_pairs.h"

namespace semicon_fast {
namespace {

std::vector<Piece> pieces(const char* op, const at::Tensor& codes, at::IntArrayRef firsts,
                          at::IntArrayRef bits, at::IntArrayRef address_bits) {
  TORCH_CHECK_VALUE(firsts.size() == bits.size() && bits.size() == address_bits.size(), op,
                    ": firsts, bits and address_bits must be equally many");
  std::vector<Piece> found;
  for (size_t t = 0; t < bits.size(); ++t) {
    TORCH_CHECK_VALUE(firsts[t] >= 0 && bits[t] >= 0 && bits[t] <= kMaxPieceBits &&
                          firsts[t] + bits[t] <= 8 * codes.size(1),
                      op, ": a piece must be 0 to ", kMaxPieceBits, " bits of the code");
    TORCH_CHECK_VALUE(address_bits[t] >= 0 && address_bits[t] <= kMaxAddressBits &&
                          address_bits[t] <= bits[t],
                      op, ": address_bits must be 0 to ", kMaxAddressBits, " and at most the bits");
    found.push_back({firsts[t], bits[t], static_cast<int>(address_bits[t])});
  }
  return found;
}

std::tuple<Tensor, Tensor> tables_build(const Tensor& codes, int64_t first, int64_t bits,
                                        int64_t address_bits, bool wide) {
  const Tensor database = rows("_tables_build", "codes", codes);
  const auto piece = pieces("_tables_build", codes, {first}, {bits}, {address_bits})[0];
  TORCH_CHECK_VALUE(bits >= 1 && (wide || codes.size(0) < int64_t{1} << 32),
                    "_tables_build: a table must have bits, and int64 for 2**32 codes");
  const auto type = wide ? at::kLong : at::kInt;
  Tensor offsets = fresh({(int64_t{1} << address_bits) + 1}, type);
  Tensor positions = fresh({codes.size(0)}, type);
  const Codes c = Operands::codes(database);
  if (wide) {
    build_table(c, piece, threads(), reinterpret_cast<uint64_t*>(offsets.mutable_data_ptr()),
                reinterpret_cast<uint64_t*>(positions.mutable_data_ptr()));
  } else {
    build_table(c, piece, threads(), reinterpret_cast<uint32_t*>(offsets.mutable_data_ptr()),
                reinterpret_cast<uint32_t*>(positions.mutable_data_ptr()));
  }
  return {offsets, positions};
}

// Calls run(TableSearch) with the tables' own type of positions.
template <class Run>
void with_tables(const char* op, const Operands& codes, const std::vector<Tensor>& offsets,
                 const std::vector<Tensor>& positions, at::IntArrayRef firsts,
                 at::IntArrayRef bits, at::IntArrayRef address_bits, double limit, const Run& run) {
  const auto all = pieces(op, codes.database, firsts, bits, address_bits);
  TORCH_CHECK_VALUE(!all.empty() && offsets.size() == all.size() && positions.size() == all.size(),
                    op, ": there must be offsets and positions for each piece");
  const auto type = offsets[0].scalar_type();
  TORCH_CHECK_TYPE(type == at::kInt || type == at::kLong, op, ": tables must be int32 or int64");
  for (size_t t = 0; t < all.size(); ++t) {
    const int64_t addresses = int64_t{1} << all[t].address_bits;
    const bool fits = offsets[t].sizes() == at::IntArrayRef{addresses + 1} &&
                      positions[t].sizes() == at::IntArrayRef{codes.database.size(0)};
    TORCH_CHECK_VALUE(fits && offsets[t].is_contiguous() && positions[t].is_contiguous() &&
                          offsets[t].scalar_type() == type && positions[t].scalar_type() == type,
                      op, ": table ", t, " does not fit its piece and the database");
  }
  const auto go = [&](auto index) {
    using Index = decltype(index);
    TableSearch<Index> search{codes.q(), codes.d(), {}, limit, threads()};
    for (size_t t = 0; t < all.size(); ++t) {
      search.tables.push_back({all[t], static_cast<const Index*>(offsets[t].const_data_ptr()),
                               static_cast<const Index*>(positions[t].const_data_ptr())});
    }
    run(search);
  };
  if (type == at::kInt) {
    go(uint32_t{});
  } else {
    go(uint64_t{});
  }
}

std::tuple<Tensor, Tensor, int64_t> tables_topk(
    const Tensor& queries, const Tensor& database, const std::vector<Tensor>& offsets,
    const std::vector<Tensor>& positions, at::IntArrayRef firsts, at::IntArrayRef bits,
    at::IntArrayRef address_bits, int64_t k, double limit) {
  const Operands codes("_tables_topk", queries, database);
  check_k("_tables_topk", database, k);
  Tensor distances = fresh({queries.size(0), k}, at::kInt);
  Tensor where = fresh({queries.size(0), k}, at::kLong);
  int64_t scanned = 0;
  with_tables("_tables_topk", codes, offsets, positions, firsts, bits, address_bits, limit,
              [&](const auto& search) {
                scanned = topk_tables(search, k, distances.mutable_data_ptr<int32_t>(),
                                      where.mutable_data_ptr<int64_t>());
              });
  return {distances, where, scanned};
}

std::tuple<Tensor, Tensor> tables_candidates(
    const Tensor& queries, const Tensor& database, const std::vector<Tensor>& offsets,
    const std::vector<Tensor>& positions, at::IntArrayRef firsts, at::IntArrayRef bits,
    at::IntArrayRef address_bits, int64_t candidates, int64_t k) {
  const Operands codes("_tables_candidates", queries, database);
  check_k("_tables_candidates", database, candidates);
  TORCH_CHECK_VALUE(k >= 0 && k <= candidates,
                    "_tables_candidates: k must be at most the candidates");
  Tensor distances = fresh({queries.size(0), k}, at::kInt);
  Tensor where = fresh({queries.size(0), k}, at::kLong);
  with_tables("_tables_candidates", codes, offsets, positions, firsts, bits, address_bits,
              std::numeric_limits<double>::infinity(), [&](const auto& search) {
                topk_candidates(search, candidates, k, distances.mutable_data_ptr<int32_t>(),
                                where.mutable_data_ptr<int64_t>());
              });
  return {distances, where};
}

std::tuple<Tensor, Tensor, Tensor, int64_t> tables_range(
    const Tensor& queries, const Tensor& database, const std::vector<Tensor>& offsets,
    const std::vector<Tensor>& positions, at::IntArrayRef firsts, at::IntArrayRef bits,
    at::IntArrayRef address_bits, int64_t radius, double limit) {
  const Operands codes("_tables_range", queries, database);
  check_radius(radius);
  Found found;
  with_tables("_tables_range", codes, offsets, positions, firsts, bits, address_bits, limit,
              [&](const auto& search) { found = range_tables(search, radius); });
  Tensor lims = at::empty({queries.size(0) + 1}, at::kLong);
  auto* ends = lims.mutable_data_ptr<int64_t>();
  ends[0] = 0;
  for (size_t q = 0; q < found.keys.size(); ++q) {
    ends[q + 1] = ends[q] + static_cast<int64_t>(found.keys[q].size());
  }
  Tensor distances = fresh({ends[found.keys.size()]}, at::kInt);
  Tensor where = fresh({ends[found.keys.size()]}, at::kLong);
  auto* near = distances.mutable_data_ptr<int32_t>();
  auto* places = where.mutable_data_ptr<int64_t>();
  for (const auto& keys : found.keys) {
    for (const uint64_t key : keys) {
      *near++ = static_cast<int32_t>(key_distance(key));
      *places++ = key_position(key);
    }
  }
  return {lims, distances, where, found.scanned};
}

std::vector<JoinStep> join_steps(const char* op, const Tensor& codes, at::IntArrayRef firsts,
                                 at::IntArrayRef bits, at::IntArrayRef radii) {
  const auto all = pieces(op, codes, firsts, bits, bits);
  TORCH_CHECK_VALUE(radii.size() == bits.size(), op, ": there must be a radius for each piece");
  std::vector<JoinStep> steps;
  for (size_t s = 0; s < all.size(); ++s) {
    TORCH_CHECK_VALUE(radii[s] >= 0 && radii[s] <= bits[s], op, ": a radius must be 0 to the bits");
    steps.push_back({all[s], radii[s]});
  }
  return steps;
}

std::tuple<Tensor, Tensor, Tensor, bool> tables_pairs(const Tensor& codes, at::IntArrayRef firsts,
                                                      at::IntArrayRef bits, at::IntArrayRef radii,
                                                      int64_t radius, int64_t most) {
  const Tensor database = rows("_tables_pairs", "codes", codes);
  const auto steps = join_steps("_tables_pairs", codes, firsts, bits, radii);
  std::vector<ClosePair> pairs;
  const bool all = close_pairs(Operands::codes(database), steps, radius, most, threads(), &pairs);
  const auto count = static_cast<int64_t>(pairs.size());
  Tensor first = fresh({count}, at::kLong), second = fresh({count}, at::kLong);
  Tensor distances = fresh({count}, at::kInt);
  for (int64_t i = 0; i < count; ++i) {
    first.mutable_data_ptr<int64_t>()[i] = pairs[i].first;
    second.mutable_data_ptr<int64_t>()[i] = pairs[i].second;
    distances.mutable_data_ptr<int32_t>()[i] = pairs[i].distance;
  }
  return {first, second, distances, all};
}

Tensor tables_groups(const Tensor& codes, at::IntArrayRef firsts, at::IntArrayRef bits,
                     at::IntArrayRef radii, int64_t radius) {
  const Tensor database = rows("_tables_groups", "codes", codes);
  const auto steps = join_steps("_tables_groups", codes, firsts, bits, radii);
  Tensor roots = fresh({codes.size(0)}, at::kLong);
  close_groups(Operands::codes(database), steps, radius, threads(),
               roots.mutable_data_ptr<int64_t>());
  return roots;
}

}  // namespace
}  // namespace semicon_fast

TORCH_LIBRARY_FRAGMENT(semicon_fast, m) {
  m.def("_tables_build(Tensor codes, int first, int bits, int address_bits, bool wide) -> "
        "(Tensor, Tensor)", &semicon_fast::tables_build);
  m.def("_tables_topk(Tensor queries, Tensor database, Tensor[] offsets, Tensor[] positions, "
        "int[] firsts, int[] bits, int[] address_bits, int k, float limit) -> "
        "(Tensor, Tensor, int)", &semicon_fast::tables_topk);
  m.def("_tables_candidates(Tensor queries, Tensor database, Tensor[] offsets, "
        "Tensor[] positions, int[] firsts, int[] bits, int[] address_bits, int candidates, int k) "
        "-> (Tensor, Tensor)", &semicon_fast::tables_candidates);
  m.def("_tables_range(Tensor queries, Tensor database, Tensor[] offsets, Tensor[] positions, "
        "int[] firsts, int[] bits, int[] address_bits, int radius, float limit) -> "
        "(Tensor, Tensor, Tensor, int)", &semicon_fast::tables_range);
  m.def("_tables_pairs(Tensor codes, int[] firsts, int[] bits, int[] radii, int radius, int most) "
        "-> (Tensor, Tensor, Tensor, bool)", &semicon_fast::tables_pairs);
  m.def("_tables_groups(Tensor codes, int[] firsts, int[] bits, int[] radii, int radius) -> Tensor",
        &semicon_fast::tables_groups);
}
