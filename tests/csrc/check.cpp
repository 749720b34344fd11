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

#include "hamming.h"
#include "kernels.h"

namespace {

using semicon_fast::Codes;

std::mt19937_64 generator(7);

int64_t below(int64_t n) { return static_cast<int64_t>(generator() % static_cast<uint64_t>(n)); }

// Rows in a buffer of exactly their size, so that a sanitizer sees the first byte read beyond it.
struct Table {
  std::unique_ptr<uint8_t[]> buffer;
  Codes codes;

  Table(int64_t count, int64_t bytes, int64_t gap, int64_t offset, int64_t distinct)
      : codes{nullptr, count, bytes, bytes + gap} {
    const int64_t size = offset + (count ? (count - 1) * codes.stride + bytes : 0);
    buffer.reset(new uint8_t[static_cast<size_t>(size)]);
    for (int64_t i = 0; i < size; ++i) buffer[i] = static_cast<uint8_t>(generator());
    uint8_t* first = buffer.get() + offset;
    for (int64_t i = distinct; distinct && i < count; ++i) {
      std::copy_n(first + below(distinct) * codes.stride, bytes, first + i * codes.stride);
    }
    codes.data = first;
  }
};

struct Case {
  Table queries, database;
  int64_t k, radius;
  int threads;
};

std::vector<std::vector<int32_t>> truth(const Case& c) {
  std::vector<std::vector<int32_t>> rows;
  for (int64_t q = 0; q < c.queries.codes.count; ++q) {
    rows.emplace_back();
    for (int64_t n = 0; n < c.database.codes.count; ++n) {
      int32_t distance = 0;
      for (int64_t b = 0; b < c.database.codes.bytes; ++b) {
        unsigned x = c.queries.codes.data[q * c.queries.codes.stride + b] ^
                     c.database.codes.data[n * c.database.codes.stride + b];
        for (; x; x &= x - 1) ++distance;
      }
      rows.back().push_back(distance);
    }
  }
  return rows;
}

void require(bool equal, const char* what, const Case& c) {
  if (equal) return;
  std::printf("%s: %s differs: %lld queries, %lld codes of %lld bytes, k %lld, %d threads\n",
              semicon_fast::active_isa().name, what, (long long)c.queries.codes.count,
              (long long)c.database.codes.count, (long long)c.database.codes.bytes, (long long)c.k,
              c.threads);
  std::exit(1);
}

void check_topk(const Case& c, const std::vector<std::vector<int32_t>>& rows) {
  const size_t results = rows.size() * static_cast<size_t>(c.k);
  std::vector<int32_t> distances(results);
  std::vector<int64_t> positions(results);
  semicon_fast::topk(c.queries.codes, c.database.codes, c.k, c.threads, distances.data(),
                     positions.data());
  for (size_t q = 0; q < rows.size(); ++q) {
    std::vector<int64_t> order(rows[q].size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int64_t>(i);
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return rows[q][a] < rows[q][b]; });
    for (int64_t i = 0; i < c.k; ++i) {
      const size_t at = q * static_cast<size_t>(c.k) + static_cast<size_t>(i);
      require(positions[at] == order[i] && distances[at] == rows[q][order[i]], "topk", c);
    }
  }
}

void check_ball(const Case& c, const std::vector<std::vector<int32_t>>& rows) {
  const semicon_fast::Ball ball(c.queries.codes, c.database.codes, c.radius, c.threads);
  const auto results = static_cast<size_t>(ball.lims().back());
  std::vector<int32_t> distances(results);
  std::vector<int64_t> positions(results);
  ball.write(distances.data(), positions.data());
  size_t at = 0;
  for (size_t q = 0; q < rows.size(); ++q) {
    require(ball.lims()[q] == static_cast<int64_t>(at), "range", c);
    for (int32_t d = 0; d <= std::min<int64_t>(c.radius, 8 * c.database.codes.bytes); ++d) {
      for (size_t n = 0; n < rows[q].size(); ++n) {
        if (rows[q][n] != d) continue;
        require(at < results && distances[at] == d && positions[at] == (int64_t)n, "range", c);
        ++at;
      }
    }
  }
  require(at == results, "range", c);
}

void check_pairs(const Case& c, const std::vector<std::vector<int32_t>>& rows) {
  const auto width = static_cast<size_t>(8 * c.database.codes.bytes + 1);
  const auto count = static_cast<size_t>(c.database.codes.count);
  std::vector<int32_t> distances(rows.size() * count);
  std::vector<int64_t> counts(rows.size() * width);
  semicon_fast::distance(c.queries.codes, c.database.codes, c.threads, distances.data());
  semicon_fast::histogram(c.queries.codes, c.database.codes, c.threads, counts.data());
  for (size_t q = 0; q < rows.size(); ++q) {
    std::vector<int64_t> expected(width);
    for (const int32_t d : rows[q]) ++expected[d];
    require(std::equal(rows[q].begin(), rows[q].end(), distances.data() + q * count), "distance", c);
    require(std::equal(expected.begin(), expected.end(), counts.data() + q * width), "histogram", c);
  }
}

// Groups of any size, empty ones and such as nobody asks for among them.
void check_groups(const Case& c, const std::vector<std::vector<int32_t>>& rows) {
  const int64_t count = c.database.codes.count;
  std::mt19937_64 own(static_cast<uint64_t>(count * 31 + c.radius));
  std::vector<int64_t> of, members, lims{0};
  for (int64_t g = 0; g < 5; ++g) {
    const uint64_t every[] = {1, 2, 17, 400, 1u << 20};
    for (int64_t n = 0; n < count; ++n) {
      if (own() % every[g] == 0) members.push_back(n);
    }
    lims.push_back(static_cast<int64_t>(members.size()));
  }
  std::vector<int64_t> expected, counts;
  for (const auto& row : rows) {
    const auto g = static_cast<int64_t>(own() % 5);
    of.push_back(g);
    const auto before = [&](int64_t a, int64_t b) {
      return row[a] != row[b] ? row[a] < row[b] : a < b;
    };
    std::vector<int64_t> order(row.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int64_t>(i);
    std::sort(order.begin(), order.end(), before);
    for (size_t i = 0; i < order.size(); ++i) {
      if (std::binary_search(members.begin() + lims[g], members.begin() + lims[g + 1], order[i])) {
        expected.push_back(static_cast<int64_t>(i) + 1);
      }
    }
  }
  std::vector<int64_t> found(expected.size());
  semicon_fast::ranks(c.queries.codes, c.database.codes, {of.data(), members.data(), lims.data()},
                      c.threads, found.data());
  require(found == expected, "ranks", c);
  const int64_t width = 8 * c.database.codes.bytes + 1;
  for (size_t q = 0; q < rows.size(); ++q) {
    counts.resize((q + 1) * static_cast<size_t>(width));
    for (int64_t m = lims[of[q]]; m < lims[of[q] + 1]; ++m) {
      ++counts[q * static_cast<size_t>(width) + static_cast<size_t>(rows[q][members[m]])];
    }
  }
  std::vector<int64_t> counted(counts.size());
  semicon_fast::group_histogram(c.queries.codes, c.database.codes,
                                {of.data(), members.data(), lims.data()}, c.threads,
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
  return {Table(queries, bytes, below(3), below(9), distinct),
          Table(count, bytes, below(2) * below(9), below(9), distinct),
          count * share[below(5)] / 1000,
          below(8 * bytes + 2),
          static_cast<int>(1 + below(4))};
}

void check(const Case& c, const std::vector<std::vector<int32_t>>& rows) {
  check_topk(c, rows);
  check_ball(c, rows);
  check_pairs(c, rows);
  check_groups(c, rows);
}

// Enough repeated codes for several threads, whose answer is that of one.
void check_threads() {
  Case c{Table(32, 32, 0, 0, 0), Table(600000, 32, 0, 1, 40), 900, 0, 1};
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
    const auto rows = truth(c);
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
