// Search in tables and joins of tables against loops over bits, without Python or torch: for
// sanitizers. Exits with 1 at the first difference. Argument: how many rounds (default 40).
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <tuple>
#include <vector>

#include "answers.h"
#include "hamming/isa/kernels.h"
#include "tables/tables.h"
#include "tables/tables_pairs.h"
#include "tables/tables_words.h"

namespace {

using answers::Table;
using semicon_fast::Codes;
using semicon_fast::Piece;

std::mt19937_64 generator(11);

int64_t below(int64_t n) { return answers::below(generator, n); }

struct Case {
  Table queries, database;
  std::vector<Piece> pieces;
  int64_t k, radius, candidates;
  double limit;
  int threads;
};

void require(bool equal, const char* what, const Case& c) {
  if (equal) return;
  std::printf("%s: %s differs: %lld queries, %lld codes of %lld bytes in %zu tables, k %lld, radius "
              "%lld, %d threads\n",
              semicon_fast::active_isa().name, what, (long long)c.queries.codes.count,
              (long long)c.database.codes.count, (long long)c.database.codes.bytes,
              c.pieces.size(), (long long)c.k, (long long)c.radius, c.threads);
  std::exit(1);
}

// Tables in buffers of exactly their size.
template <class Index>
struct Built {
  std::vector<std::vector<Index>> offsets, positions;
  semicon_fast::TableSearch<Index> search;

  explicit Built(const Case& c)
      : search{c.queries.codes, c.database.codes, {}, c.limit, c.threads} {
    const int64_t count = c.database.codes.count;
    offsets.resize(c.pieces.size()), positions.resize(c.pieces.size());
    for (size_t t = 0; t < c.pieces.size(); ++t) {
      const Piece& piece = c.pieces[t];
      offsets[t].resize((size_t{1} << piece.address_bits) + 1);
      positions[t].resize(static_cast<size_t>(count));
      build_table(c.database.codes, piece, c.threads, offsets[t].data(), positions[t].data());
      search.tables.push_back({piece, offsets[t].data(), positions[t].data()});
      check(c, t);
    }
  }
  void check(const Case& c, size_t t) {
    const semicon_fast::Addresses addresses(c.pieces[t]);
    int64_t seen = 0;
    for (size_t a = 0; a + 1 < offsets[t].size(); ++a) {
      for (Index at = offsets[t][a]; at < offsets[t][a + 1]; ++at, ++seen) {
        const Codes& codes = c.database.codes;
        const uint8_t* code = codes.data + static_cast<int64_t>(positions[t][at]) * codes.stride;
        require(addresses.of(code) == a, "address", c);
        require(at == offsets[t][a] || positions[t][at - 1] < positions[t][at], "bucket", c);
      }
    }
    require(seen == c.database.codes.count, "table", c);
  }
};

template <class Index>
void check_searches(const Case& c, const std::vector<answers::Row>& rows) {
  const Built<Index> built(c);
  const auto nearest = answers::nearest(rows, c.k);
  std::vector<int32_t> distances(nearest.distances.size());
  std::vector<int64_t> positions(distances.size());
  topk_tables(built.search, c.k, distances.data(), positions.data());
  require(distances == nearest.distances && positions == nearest.positions, "topk", c);

  const auto within = answers::range_search(rows, c.radius);
  const auto found = range_tables(built.search, c.radius);
  for (size_t q = 0, at = 0; q < rows.size(); ++q) {
    require(static_cast<int64_t>(at) == within.lims[q], "range", c);
    for (const uint64_t key : found.keys[q]) {
      require(at < within.distances.size(), "range", c);
      const uint64_t wanted = static_cast<uint64_t>(within.distances[at]) << 48 |
                              static_cast<uint64_t>(within.positions[at]);
      require(key == wanted, "range", c);
      ++at;
    }
  }

  std::vector<int32_t> near(rows.size() * static_cast<size_t>(c.k));
  std::vector<int64_t> where(near.size());
  topk_candidates(built.search, c.candidates, c.k, near.data(), where.data());
  const int64_t words = semicon_fast::word_count(c.queries.codes.bytes);
  const auto loaded = [&](const Codes& codes, int64_t row) {
    std::vector<uint64_t> code(static_cast<size_t>(words));
    semicon_fast::load_words(codes.data + row * codes.stride, codes.bytes, code.data());
    return code;
  };
  for (size_t q = 0; q < rows.size(); ++q) {
    std::vector<std::tuple<int64_t, int64_t, int64_t>> ordered;
    for (int64_t n = 0; n < c.database.codes.count; ++n) {
      int64_t least = 64;
      for (const Piece& piece : c.pieces) {
        int64_t differing = 0;
        for (int64_t bit = piece.first; bit < piece.first + piece.bits; ++bit) {
          const auto a = c.queries.codes.data[q * c.queries.codes.stride + bit / 8];
          const auto b = c.database.codes.data[n * c.database.codes.stride + bit / 8];
          differing += (a ^ b) >> bit % 8 & 1;
        }
        const auto query = loaded(c.queries.codes, static_cast<int64_t>(q));
        require(differing == semicon_fast::piece_difference(
                                 query.data(), loaded(c.database.codes, n).data(), piece.first,
                                 piece.bits),
                "piece_difference", c);
        least = std::min(least, differing);
      }
      ordered.emplace_back(least, rows[q][n], n);
    }
    std::sort(ordered.begin(), ordered.end());
    ordered.resize(static_cast<size_t>(c.candidates));
    for (auto& entry : ordered) std::get<0>(entry) = 0;
    std::sort(ordered.begin(), ordered.end());
    for (int64_t i = 0; i < c.k; ++i) {
      require(near[q * c.k + i] == std::get<1>(ordered[i]) &&
                  where[q * c.k + i] == std::get<2>(ordered[i]),
              "candidates", c);
    }
  }
}

// Radii 0 to done - 1 of each piece, so that the sum of done is above the radius.
std::vector<semicon_fast::JoinStep> join_steps(const Case& c) {
  std::vector<Piece> pieces;
  for (const Piece& piece : c.pieces) {
    if (piece.bits <= 10) pieces.push_back({piece.first, piece.bits, static_cast<int>(piece.bits)});
  }
  if (pieces.empty() || c.radius > 3 * static_cast<int64_t>(pieces.size())) pieces = {{0, 0, 0}};
  std::vector<int64_t> done(pieces.size());
  for (int64_t sum = 0; sum <= c.radius && pieces[0].bits; ++sum) ++done[sum % done.size()];
  if (!pieces[0].bits) done[0] = 1;
  std::vector<semicon_fast::JoinStep> steps;
  for (size_t t = 0; t < pieces.size(); ++t) {
    for (int64_t r = 0; r < std::min(done[t], pieces[t].bits + 1); ++r) {
      steps.push_back({pieces[t], r});
    }
  }
  return steps;
}

void check_joins(const Case& c) {
  const Codes& codes = c.database.codes;
  const auto rows = answers::distances(codes, codes);
  std::vector<std::tuple<int64_t, int64_t, int32_t>> expected, got;
  std::vector<int64_t> roots(static_cast<size_t>(codes.count)), found(roots.size());
  for (size_t i = 0; i < roots.size(); ++i) roots[i] = static_cast<int64_t>(i);
  for (int64_t i = 0; i < codes.count; ++i) {
    for (int64_t j = i + 1; j < codes.count; ++j) {
      if (rows[i][j] > c.radius) continue;
      expected.emplace_back(i, j, rows[i][j]);
      if (roots[i] == roots[j]) continue;
      const int64_t low = std::min(roots[i], roots[j]), high = std::max(roots[i], roots[j]);
      std::replace(roots.begin(), roots.end(), high, low);
    }
  }
  const auto steps = join_steps(c);
  const auto most = static_cast<int64_t>(expected.size());
  std::vector<semicon_fast::ClosePair> pairs, fewer;
  require(close_pairs(codes, steps, c.radius, most, c.threads, &pairs), "pairs' number", c);
  for (const auto& pair : pairs) got.emplace_back(pair.first, pair.second, pair.distance);
  require(got == expected, "pairs", c);
  if (most) require(!close_pairs(codes, steps, c.radius, most - 1, c.threads, &fewer), "most", c);
  close_groups(codes, steps, c.radius, c.threads, found.data());
  require(found == roots, "groups", c);
}

// Consecutive pieces of random lengths, some with a hash for an address.
std::vector<Piece> random_pieces(int64_t bits) {
  std::vector<Piece> pieces;
  const int64_t longest = std::min<int64_t>(1 + below(40), bits);
  for (int64_t first = 0; first < bits;) {
    const int64_t least = bits - first < 64 ? 1 : std::min<int64_t>(bits / 60 + 1, 64);
    const int64_t length = std::min(std::max(1 + below(longest), least), bits - first);
    const int64_t most = std::min<int64_t>(length, 12);
    pieces.push_back({first, length, static_cast<int>(below(3) ? most : 1 + below(most))});
    first += length;
  }
  return pieces;
}

Case random_case(int64_t round) {
  const int64_t lengths[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 17, 24, 32, 64, 512};
  const int64_t bytes = lengths[round % 16];
  const int64_t count = round % 9 == 8 ? 3000 : below(bytes > 32 ? 60 : 500);
  const int64_t distinct = below(2) ? 0 : 1 + below(50);
  const double limits[] = {0, 3, 200, 2e4};
  const int64_t candidates = count ? 1 + below(count) : 0;
  return {Table(generator, below(9), bytes, below(3), below(9), distinct),
          Table(generator, count, bytes, below(2) * below(9), below(9), distinct),
          random_pieces(8 * bytes),
          std::min(candidates, below(4) ? below(12) : candidates),
          below(4) ? below(7) : below(8 * bytes + 2),
          candidates,
          limits[below(4)],
          static_cast<int>(1 + below(4))};
}

// Whatever a damaged file holds, nothing is read outside of the tables.
template <class Index>
void check_damage(const Case& c) {
  Built<Index> built(c);
  if (c.database.codes.count == 0) return;
  for (auto* arrays : {&built.offsets, &built.positions}) {
    for (auto& array : *arrays) {
      for (auto& value : array) {
        if (below(3) == 0) value = static_cast<Index>(generator() >> below(64));
      }
    }
  }
  std::vector<int32_t> near(static_cast<size_t>(c.queries.codes.count * c.k));
  std::vector<int64_t> where(near.size());
  topk_tables(built.search, c.k, near.data(), where.data());
  range_tables(built.search, c.radius);
  topk_candidates(built.search, c.candidates, c.k, near.data(), where.data());
  for (const int64_t position : where) {
    require(position >= 0 && position < c.database.codes.count, "damaged position", c);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int64_t rounds = argc > 1 ? std::atoll(argv[1]) : 40;
  const semicon_fast::Isa* isas[8];
  const int known = semicon_fast::available_isas(isas, 8);
  for (int64_t round = 0; round < rounds; ++round) {
    const Case c = random_case(round);
    const auto rows = answers::distances(c.queries.codes, c.database.codes);
    for (int i : {0, known - 1}) {
      if (!semicon_fast::set_isa(isas[i]->name)) return 1;
      check_searches<uint32_t>(c, rows);
      check_searches<uint64_t>(c, rows);
      check_joins(c);
    }
    check_damage<uint32_t>(c);
    check_damage<uint64_t>(c);
  }
  std::printf("tables: %lld rounds, all equal\n", (long long)rounds);
}
