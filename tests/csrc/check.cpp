// Every instruction set of this machine against a loop over bits, without Python or torch: for
// sanitizers, and for machines that are only emulated. Prints one line for each instruction set;
// exits with 1 at the first difference. Argument: how many rounds of random shapes (default 40).
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "answers.h"
#include "hamming/hamming.h"
#include "hamming/isa/kernels.h"

namespace {

using answers::Table;

std::mt19937_64 generator(7);

int64_t below(int64_t n) { return answers::below(generator, n); }

struct Case {
  Table queries, database;
  int64_t k, radius;
  int threads;
};

void require(bool equal, const char* what, const Case& c) {
  if (equal) return;
  std::printf("%s: %s differs: %lld queries, %lld codes of %lld bytes, k %lld, %d threads\n",
              semicon_fast::active_isa().name, what, (long long)c.queries.codes.count,
              (long long)c.database.codes.count, (long long)c.database.codes.bytes, (long long)c.k,
              c.threads);
  std::exit(1);
}

void check_topk(const Case& c, const std::vector<answers::Row>& rows) {
  const auto expected = answers::nearest(rows, c.k);
  std::vector<int32_t> distances(expected.distances.size());
  std::vector<int64_t> positions(expected.positions.size());
  semicon_fast::topk(c.queries.codes, c.database.codes, c.k, c.threads, distances.data(),
                     positions.data());
  require(distances == expected.distances && positions == expected.positions, "topk", c);
}

void check_range(const Case& c, const std::vector<answers::Row>& rows) {
  const auto expected = answers::range_search(rows, c.radius);
  const semicon_fast::RangeSearch found(c.queries.codes, c.database.codes, c.radius, c.threads);
  require(found.lims() == expected.lims, "range", c);
  std::vector<int32_t> distances(expected.distances.size());
  std::vector<int64_t> positions(expected.positions.size());
  found.write(distances.data(), positions.data());
  require(distances == expected.distances && positions == expected.positions, "range", c);
}

void check_pairs(const Case& c, const std::vector<answers::Row>& rows) {
  const auto expected = answers::histogram(rows, c.database.codes.bytes);
  const auto count = static_cast<size_t>(c.database.codes.count);
  std::vector<int32_t> distances(rows.size() * count);
  std::vector<int64_t> counts(expected.size());
  semicon_fast::distance(c.queries.codes, c.database.codes, c.threads, distances.data());
  semicon_fast::histogram(c.queries.codes, c.database.codes, c.threads, counts.data());
  for (size_t q = 0; q < rows.size(); ++q) {
    require(std::equal(rows[q].begin(), rows[q].end(), distances.data() + q * count), "distance", c);
  }
  require(counts == expected, "histogram", c);
}

void check_groups(const Case& c, const std::vector<answers::Row>& rows) {
  const int64_t count = c.database.codes.count;
  std::mt19937_64 own(static_cast<uint64_t>(count * 31 + c.radius));
  const answers::Groups groups(own, c.queries.codes.count, count);
  const auto ranks = answers::ranks(rows, groups);
  std::vector<int64_t> found(ranks.size());
  semicon_fast::ranks(c.queries.codes, c.database.codes, groups.lists(), c.threads, found.data());
  require(found == ranks, "ranks", c);
  const auto counts = answers::group_histogram(rows, groups, c.database.codes.bytes);
  std::vector<int64_t> counted(counts.size());
  semicon_fast::group_histogram(c.queries.codes, c.database.codes, groups.lists(), c.threads,
                                counted.data());
  require(counted == counts, "group_histogram", c);
}

Case random_case(int64_t round) {
  const int64_t lengths[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 17, 24, 32, 33, 64, 96, 128, 257, 512};
  const int64_t bytes = lengths[round % 20];
  const int64_t most = round % 8 == 7 ? 40000 : 3000;
  // Many queries of few distinct codes: these are searched in place of all.
  const bool repeats = round % 4 == 1;
  const int64_t count =
      repeats ? 2500 + below(500) : below(std::max<int64_t>(50, most * 8 / (bytes + 7)));
  const int64_t queries = repeats ? 128 + below(9) : below(4) ? below(20) : 64 + below(9);
  const int64_t distinct = !repeats && below(2) ? 0 : 1 + below(50);
  const int64_t share[] = {0, 1, 10, 60, 1000};
  return {Table(generator, queries, bytes, below(3), below(9), distinct),
          Table(generator, count, bytes, below(2) * below(9), below(9), distinct),
          count * share[below(5)] / 1000,
          below(8 * bytes + 2),
          static_cast<int>(1 + below(4))};
}

void check(const Case& c, const std::vector<answers::Row>& rows) {
  check_topk(c, rows);
  check_range(c, rows);
  check_pairs(c, rows);
  check_groups(c, rows);
}

// Enough repeated codes for several threads, whose answer is that of one.
void check_threads() {
  Case c{Table(generator, 32, 32, 0, 0, 0), Table(generator, 600000, 32, 0, 1, 40), 900, 0, 1};
  std::vector<int32_t> distances[2];
  std::vector<int64_t> positions[2];
  for (int i = 0; i < 2; ++i) {
    distances[i].resize(static_cast<size_t>(32 * c.k));
    positions[i].resize(static_cast<size_t>(32 * c.k));
    c.threads = 1 + 3 * i;
    semicon_fast::topk(c.queries.codes, c.database.codes, c.k, c.threads, distances[i].data(),
                       positions[i].data());
  }
  require(distances[0] == distances[1] && positions[0] == positions[1], "threads", c);
}

}  // namespace

int main(int argc, char** argv) {
  const int64_t rounds = argc > 1 ? std::atoll(argv[1]) : 40;
  const semicon_fast::Isa* isas[8];
  const int known = semicon_fast::available_isas(isas, 8);
  std::vector<int64_t> pairs(8);
  for (int64_t round = 0; round < rounds; ++round) {
    const Case c = random_case(round);
    const auto rows = answers::distances(c.queries.codes, c.database.codes);
    for (int i = 0; i < known; ++i) {
      if (!semicon_fast::set_isa(isas[i]->name)) return 1;
      check(c, rows);
      // The same search from several threads at once.
      std::vector<std::thread> searches;
      for (int t = 0; t < 3; ++t) searches.emplace_back([&] { check_topk(c, rows); });
      for (std::thread& search : searches) search.join();
      pairs[i] += c.queries.codes.count * c.database.codes.count;
    }
  }
  check_threads();
  for (int i = 0; i < known; ++i) {
    std::printf("%s: %lld rounds, %lld pairs, all equal\n", isas[i]->name, (long long)rounds,
                (long long)pairs[i]);
  }
}
