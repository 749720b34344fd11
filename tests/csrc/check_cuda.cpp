// The CUDA kernels, run by the emulator, against plain loops:
// `check_cuda WHAT FIRST LAST SCHEDULES`.
// WHAT: topk-scan, topk-popcount, topk-binary, topk-int8, topk-automatic, range, pairs, groups;
// layouts: all of these for every length of codes to 32 bytes at every offset, in 1024 rounds;
// turns: long scans by few queries.
// Rounds FIRST to LAST - 1, each with a shape of its own, each in SCHEDULES orders of threads.
// Exits with 1 at the first difference, otherwise prints one line.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "answers.h"
#include "cases.h"
#include "machine.h"
#include "search.h"
#include "stages.h"

namespace {

using answers::Random;
using cases::Case;
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

void require(bool equal, const char* what, const Case& c) {
  if (equal) return;
  std::printf("%s differs: ", what);
  cases::describe(c);
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
    if (random() % 4 == 0) member = cases::one_of(random, nowhere);
  }
  for (auto& lim : groups.lims) {
    if (random() % 3 == 0) lim = cases::one_of(random, nowhere);
  }
  const cuda::DeviceGroups lists = on_device(broken.results, groups);
  cuda::group_histogram(broken.context(), c.queries.codes, c.database.codes, lists, counts);
  cuda::ranks(broken.context(), c.queries.codes, c.database.codes, lists, ranks);
}

// A query's counts stay few enough for the one block that adds them up, or its chunks are as long
// as can be counted.
void check_bounds() {
  const cuda::Device devices[] = {{132, 90, 227 << 10}, {8, 80, 163 << 10}};
  for (const cuda::Device& device : devices) {
    const cuda::Context context{nullptr, {nullptr, nullptr}, device, {}};
    for (const int64_t codes : {int64_t{1}, int64_t{1} << 20, int64_t{1} << 30, int64_t{1} << 42}) {
      for (const int width : {9, 65, 1025, 4097}) {
        const int64_t least = cuda::least_chunks(codes), room = int64_t{1} << 40;
        const cuda::Jobs jobs = cuda::jobs_for(context, 1, codes, width, room);
        const cuda::Jobs flagged =
            cuda::flagged_jobs(context, nullptr, nullptr, 1, codes, width, room);
        for (const int64_t chunks : {jobs.chunks, flagged.most}) {
          if (chunks >= least && chunks <= std::max(least, cuda::kMostCounts / width)) continue;
          std::printf("%lld chunks of %lld codes, %d distances each: differs\n", (long long)chunks,
                      (long long)codes, width);
          std::exit(1);
        }
      }
    }
  }
}

// All that is searched for in the same codes.
void check_everything(Case& c, const Rows& rows) {
  for (const auto path : {cuda::Path::kScan, cuda::Path::kPopcount, cuda::Path::kBinary,
                          cuda::Path::kInt8}) {
    c.settings.path = path;
    check_topk(c, rows);
  }
  check_range(c, rows);
  check_pairs(c, rows);
  check_groups(c, rows);
}

void check(const std::string& what, Case& c, const Rows& rows) {
  if (what == "layouts") return check_everything(c, rows);
  if (what == "range") return check_range(c, rows);
  if (what == "pairs") return check_pairs(c, rows);
  if (what == "groups") {
    check_groups(c, rows);
    return check_broken_groups(c, rows);
  }
  check_topk(c, rows);
}

Case case_of(const std::string& what, int64_t round) {
  if (what == "layouts") return cases::layout_of(round);
  if (what == "turns") return cases::turns_of(round);
  Case c = cases::any_of(round, what.rfind("topk", 0) == 0);
  for (int i = 0; i < 5; ++i) {
    if (what == std::string("topk-") + cuda::kPathNames[i]) c.settings.path = cuda::Path(i);
  }
  return c;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  const std::string what = argv[1];
  check_bounds();
  const int64_t first = std::atoll(argv[2]), last = std::atoll(argv[3]);
  int64_t pairs = 0;
  for (int64_t round = first; round < last; ++round) {
    Case c = case_of(what, round);
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
