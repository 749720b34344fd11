// The CUDA kernels, run by the emulator, against plain loops: `check_cuda WHAT FIRST LAST SCHEDULES`.
// WHAT: topk-scan, topk-popcount, topk-binary, topk-int8, topk-automatic, range, pairs, groups.
// Rounds FIRST to LAST - 1, each with a shape of its own, each in SCHEDULES orders of threads.
// Exits with 1 at the first difference, otherwise prints one line.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "answers.h"
#include "machine.h"
#include "search.h"

namespace {

using answers::Random;
using answers::Table;
namespace cuda = semicon_fast::cuda;

// Memory of exactly the sizes that are asked for, full of noise; no more than was promised.
class Arena {
 public:
  explicit Arena(uint64_t seed) : random_(seed) {}
  ~Arena() {
    for (void* block : blocks_) std::free(block);
  }
  Arena(const Arena&) = delete;

  void* allocate(size_t bytes) {
    void* block = nullptr;
    if (posix_memalign(&block, 16, bytes) != 0) std::abort();
    auto* byte = static_cast<unsigned char*>(block);
    for (size_t i = 0; i < bytes; i += 8) {
      const uint64_t noise = random_();
      std::memcpy(byte + i, &noise, std::min<size_t>(8, bytes - i));
    }
    blocks_.push_back(block);
    taken_ += static_cast<int64_t>(bytes);
    return block;
  }
  template <class T>
  T* array(int64_t count) {
    return static_cast<T*>(allocate(static_cast<size_t>(count) * sizeof(T)));
  }
  int64_t taken() const { return taken_; }

 private:
  Random random_;
  std::vector<void*> blocks_;
  int64_t taken_ = 0;
};

struct Case {
  int64_t round, distinct;
  Table queries, database;
  int64_t k, radius;
  cuda::Settings settings;
  cuda::Device device;
  uint64_t schedule = 0;

  int64_t bytes() const { return database.codes.bytes; }
};

template <class T, size_t size>
T one_of(Random& random, const T (&values)[size]) { return values[random() % size]; }

// Every width from 1 to 40 bytes, and some larger, in turn.
int64_t bytes_of(int64_t round) {
  const int64_t larger[] = {64, 128, 48, 129, 256, 65, 512, 96};
  const int64_t i = round * 7 % 48;
  return i < 40 ? i + 1 : larger[i - 40];
}

// Mostly what a search should have; else so little that what is rare happens.
cuda::Settings settings_of(Random& random, int64_t k) {
  cuda::Settings settings;
  settings.select_from = one_of<int64_t>(random, {1, 1, 1, 1 << 12});
  settings.sample = one_of<int64_t>(random, {1 << 16, 64, 1, 17});
  settings.chunk = one_of<int64_t>(random, {1 << 10, 1, 7, 64});
  settings.candidates = one_of<int64_t>(random, {0, 0, k, k + 1, k / 2 + 1, 2 * k + 40, 1});
  settings.sorted = one_of<int64_t>(random, {0, 0, 1, 16, 256});
  settings.workspace = one_of<int64_t>(random, {2 << 20, 1 << 20, 1});
  return settings;
}

// topk: enough codes for several blocks of them; what counts and places takes all of its time with
// long codes, whatever their number.
Case case_of(int64_t round, bool topk) {
  Random random(static_cast<uint64_t>(round) * 977 + 5);
  const int64_t bytes = bytes_of(round);
  const int64_t most = topk ? std::min(one_of<int64_t>(random, {40, 300, 2500, 2500}), 150000 / bytes)
                            : std::min(one_of<int64_t>(random, {40, 300, 700}), 40 + 4000 / bytes);
  const int64_t counts[] = {0, 1, 31, 33, 257, answers::below(random, most), most, most, most,
                            most, most + 1, most + 5};
  const int64_t count = std::min(one_of(random, counts), most + 5);
  int64_t queries = one_of<int64_t>(random, {0, 1, 1, 2, 3, 4, 5, 8, 9, 16, 17, 33});
  // Random codes, few distinct ones, all the same.
  const int64_t distinct = one_of<int64_t>(random, {0, 0, 12, 2, 1});
  // Rows without gaps and aligned as they come; with gaps; at odd addresses.
  const int64_t gap = one_of<int64_t>(random, {0, 0, 0, 1, 3, 16 - bytes % 16});
  const int64_t offset = one_of<int64_t>(random, {0, 0, 0, 1, 4, 8, 15});
  const int64_t k = std::min(count, one_of<int64_t>(random, {0, 1, 2, 10, count / 2, count}));
  const int64_t radius = one_of<int64_t>(
      random, {0, 1, 4 * bytes, answers::below(random, 8 * bytes + 1), 8 * bytes, int64_t{1} << 40});
  const cuda::Settings settings = settings_of(random, k);
  if (settings.workspace == 1 || (!topk && bytes > 64)) queries = std::min<int64_t>(queries, 3);
  const cuda::Device devices[] = {
      {2, 90, 227 << 10}, {1, 80, 163 << 10}, {2, 86, 99 << 10}, {1, 100, 227 << 10}};
  const int64_t near = answers::below(random, 3);
  return {round, distinct, Table(random, queries, bytes, near % 2, near, distinct),
          Table(random, count, bytes, gap, offset, distinct), k, radius, settings,
          one_of(random, devices)};
}

void describe(const Case& c) {
  const cuda::Settings& s = c.settings;
  std::printf(
      "round %lld, schedule %llu: %lld queries, %lld codes of %lld bytes every %lld at %% 16 = %d, "
      "%lld distinct, k %lld, radius %lld; path %s, workspace %lld, candidates %lld, sorted %lld, "
      "sample %lld, select_from %lld, chunk %lld; device %d.%d\n",
      (long long)c.round, (unsigned long long)c.schedule, (long long)c.queries.codes.count,
      (long long)c.database.codes.count, (long long)c.bytes(), (long long)c.database.codes.stride,
      (int)(reinterpret_cast<uintptr_t>(c.database.codes.data) % 16), (long long)c.distinct,
      (long long)c.k, (long long)c.radius, cuda::kPathNames[(int)s.path], (long long)s.workspace,
      (long long)s.candidates, (long long)s.sorted, (long long)s.sample, (long long)s.select_from,
      (long long)s.chunk, c.device.capability / 10, c.device.capability % 10);
}

void require(bool equal, const char* what, const Case& c) {
  if (equal) return;
  std::printf("%s differs: ", what);
  describe(c);
  std::exit(1);
}

template <class T>
bool equal(const std::vector<T>& expected, const T* found) {
  return std::equal(expected.begin(), expected.end(), found);
}

// A call's own memory, and room for what it finds.
struct Call {
  const Case& c;
  Arena workspace, results;
  explicit Call(const Case& c) : c(c), workspace(c.schedule), results(c.schedule + 1) {}
  cuda::Context context() {
    const auto allocate = [](void* self, size_t bytes) {
      return static_cast<Arena*>(self)->allocate(bytes);
    };
    return {nullptr, {allocate, &workspace}, c.device, c.settings};
  }
  // Some workspace every call needs, however little it was promised.
  ~Call() {
    const int64_t most = std::max<int64_t>(c.settings.workspace, 1 << 20);
    require(workspace.taken() <= most, "the promised workspace", c);
  }
};

using Rows = std::vector<answers::Row>;

void check_topk(const Case& c, const Rows& rows) {
  const auto expected = answers::nearest(rows, c.k);
  const auto size = static_cast<int64_t>(expected.positions.size());
  Call call(c);
  auto* distances = call.results.array<int32_t>(size);
  auto* positions = call.results.array<int64_t>(size);
  cuda::topk(call.context(), c.queries.codes, c.database.codes, c.k, distances, positions);
  require(equal(expected.distances, distances), "topk's distances", c);
  require(equal(expected.positions, positions), "topk's positions", c);
}

void check_range(const Case& c, const Rows& rows) {
  const auto expected = answers::range_search(rows, c.radius);
  const auto size = static_cast<int64_t>(expected.positions.size());
  Call count(c), write(c);
  auto* lims = count.results.array<int64_t>(c.queries.codes.count + 1);
  cuda::range_count(count.context(), c.queries.codes, c.database.codes, c.radius, lims);
  require(equal(expected.lims, lims), "range's lims", c);
  auto* distances = write.results.array<int32_t>(size);
  auto* positions = write.results.array<int64_t>(size);
  cuda::range_write(write.context(), c.queries.codes, c.database.codes, lims, distances,
                    positions);
  require(equal(expected.distances, distances), "range's distances", c);
  require(equal(expected.positions, positions), "range's positions", c);
}

void check_pairs(const Case& c, const Rows& rows) {
  Call distance(c), histogram(c);
  const int64_t count = c.database.codes.count;
  auto* distances = distance.results.array<int32_t>(c.queries.codes.count * count);
  cuda::distance(distance.context(), c.queries.codes, c.database.codes, distances);
  for (size_t q = 0; q < rows.size(); ++q) {
    require(equal(rows[q], distances + static_cast<int64_t>(q) * count), "distance", c);
  }
  const auto expected = answers::histogram(rows, c.bytes());
  auto* counts = histogram.results.array<int64_t>(static_cast<int64_t>(expected.size()));
  cuda::histogram(histogram.context(), c.queries.codes, c.database.codes, counts);
  require(equal(expected, counts), "histogram", c);
}

// Groups in memory of their exact size.
cuda::DeviceGroups on_device(Arena& arena, const answers::Groups& groups) {
  const auto copy = [&](const std::vector<int64_t>& from) {
    auto* to = arena.array<int64_t>(static_cast<int64_t>(from.size()));
    std::copy(from.begin(), from.end(), to);
    return to;
  };
  return {{copy(groups.of), copy(groups.members), copy(groups.lims)},
          static_cast<int64_t>(groups.lims.size()) - 1,
          static_cast<int64_t>(groups.members.size())};
}

void check_groups(const Case& c, const Rows& rows) {
  Random random(static_cast<uint64_t>(c.round));
  const answers::Groups groups(random, c.queries.codes.count, c.database.codes.count);
  Call rank(c), histogram(c);
  const auto expected = answers::ranks(rows, groups);
  auto* ranks = rank.results.array<int64_t>(static_cast<int64_t>(expected.size()));
  cuda::ranks(rank.context(), c.queries.codes, c.database.codes, on_device(rank.results, groups),
              ranks);
  require(equal(expected, ranks), "ranks", c);
  const auto counted = answers::group_histogram(rows, groups, c.bytes());
  auto* counts = histogram.results.array<int64_t>(static_cast<int64_t>(counted.size()));
  cuda::group_histogram(histogram.context(), c.queries.codes, c.database.codes,
                        on_device(histogram.results, groups), counts);
  require(equal(counted, counts), "group_histogram", c);
}

// Queries of no group count nothing. Members that are no codes count for nothing that is specified,
// but lead nowhere beyond the memory either.
void check_broken_groups(const Case& c, const Rows& rows) {
  Random random(static_cast<uint64_t>(c.round));
  answers::Groups groups(random, c.queries.codes.count, c.database.codes.count);
  auto expected = answers::group_histogram(rows, groups, c.bytes());
  const int64_t width = 8 * c.bytes() + 1;
  for (size_t q = 0; q < groups.of.size(); q += 3) {
    groups.of[q] = random() % 2 ? -1 : int64_t{5} << random() % 40;
    std::fill_n(expected.begin() + static_cast<int64_t>(q) * width, width, 0);
  }
  Call call(c), broken(c);
  auto* counts = call.results.array<int64_t>(static_cast<int64_t>(expected.size()));
  cuda::group_histogram(call.context(), c.queries.codes, c.database.codes,
                        on_device(call.results, groups), counts);
  require(equal(expected, counts), "group_histogram of no groups", c);
  const auto members = static_cast<int64_t>(groups.members.size());
  auto* ranks = broken.results.array<int64_t>(c.queries.codes.count * members);
  const int64_t nowhere[] = {-1, c.database.codes.count, int64_t{1} << 40, INT64_MIN, INT64_MAX};
  for (auto& member : groups.members) {
    if (random() % 4 == 0) member = one_of(random, nowhere);
  }
  for (auto& lim : groups.lims) {
    if (random() % 3 == 0) lim = one_of(random, nowhere);
  }
  const cuda::DeviceGroups lists = on_device(broken.results, groups);
  cuda::group_histogram(broken.context(), c.queries.codes, c.database.codes, lists, counts);
  cuda::ranks(broken.context(), c.queries.codes, c.database.codes, lists, ranks);
}

void check(const std::string& what, const Case& c, const Rows& rows) {
  if (what == "range") return check_range(c, rows);
  if (what == "pairs") return check_pairs(c, rows);
  if (what == "groups") {
    check_groups(c, rows);
    return check_broken_groups(c, rows);
  }
  check_topk(c, rows);
}

void set_path(const std::string& what, cuda::Settings& settings) {
  for (int i = 0; i < 5; ++i) {
    if (what == std::string("topk-") + cuda::kPathNames[i]) settings.path = cuda::Path(i);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  const std::string what = argv[1];
  const int64_t first = std::atoll(argv[2]), last = std::atoll(argv[3]);
  int64_t pairs = 0;
  for (int64_t round = first; round < last; ++round) {
    Case c = case_of(round, what.rfind("topk", 0) == 0);
    set_path(what, c.settings);
    const auto rows = answers::distances(c.queries.codes, c.database.codes);
    for (int64_t i = 0; i < std::atoll(argv[4]); ++i) {
      // Two of three: forward and backward; the third shuffled, by another seed in each round.
      c.schedule = static_cast<uint64_t>((i + round) % 3);
      if (c.schedule == 2) c.schedule += static_cast<uint64_t>(round + 100 * i);
      emulator::set_schedule(c.schedule);
      emulator::set_shared_limit(static_cast<size_t>(c.device.shared_bytes));
      check(what, c, rows);
      pairs += c.queries.codes.count * c.database.codes.count;
    }
  }
  std::printf("%s: rounds %lld to %lld, %lld pairs, all equal\n", what.c_str(), (long long)first,
              (long long)last - 1, (long long)pairs);
}
