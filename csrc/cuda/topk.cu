// The k nearest. Each query's limit is estimated from a sample; a pass over the database appends
// the codes within the limits, which are lowered during the pass; the keys found are sorted.
// Queries for which this fails (the estimate was too small, or more ties than fit) are ranked by
// counting in the same call: those kernels are always launched and return at once if no query is
// flagged.
#include <cmath>

#include "stages.h"

namespace semicon_fast::cuda {
namespace {

int64_t power_of_two_within(int64_t value) {
  int64_t power = 2;
  while (2 * power <= value) power *= 2;
  return power;
}

class TopK {
 public:
  TopK(const Context& context, const Codes& queries, const Codes& database, int64_t k,
       int32_t* distances, int64_t* positions)
      : context_(context),
        workspace_(context),
        queries_(rows_of(queries)),
        codes_(rows_of(database)),
        k_(k),
        width_(8 * codes_.bytes + 1),
        room_(std::max(context.settings.workspace / 4 / 8 / width_, least_chunks(codes_.count))),
        results_{k, nullptr, distances, positions} {
    const Settings& settings = context.settings;
    const int64_t fits = power_of_two_within((context.device.shared_bytes - 16) / 8);
    sorted_ = std::min(settings.sorted > 0 ? settings.sorted : fits, fits);
    largest_k_ = settings.sorted > 0 ? sorted_ : sorted_ / 4;
    capacity_ = settings.candidates > 0 ? settings.candidates : 8 * k + 4096;
    while (settings.sorted == 0 && sorted_ / 2 >= capacity_) sorted_ /= 2;
  }

  void run() {
    const int64_t count = codes_.count;
    // For few codes, or a large part of all, counting is faster than selecting.
    if (count < context_.settings.select_from || k_ > count / 16 || k_ > largest_k_) return rank();
    select();
  }

 private:
  Results results(int64_t first) const {
    Results shifted = results_;
    shifted.distances += first * k_;
    shifted.positions += first * k_;
    return shifted;
  }

  Packed pack_queries(int64_t first, int64_t count, uint32_t* words) const {
    pack(context_, slice(queries_, first, count), 1, count, words);
    return {words, count};
  }

  void rank() {
    const Jobs all = jobs_for(context_, queries_.count, codes_.count, width_, room_);
    auto* const counts = workspace_.take<int64_t>(all.count * all.chunks * width_);
    auto* const words = workspace_.take<uint32_t>(all.count * 4 * queries_.quads);
    for (int64_t first = 0; first < queries_.count; first += all.count) {
      Jobs jobs = all;
      jobs.count = std::min(all.count, queries_.count - first);
      const Packed packed = pack_queries(first, jobs.count, words);
      count_codes(context_, jobs, packed, codes_, counts);
      counts_to_places(context_, jobs, width_, counts);
      place_codes(context_, jobs, packed, codes_, counts, results(first));
    }
  }

  // Number of queries per group, such that their state fits the workspace besides the counts.
  int64_t group_size(Path path) const {
    const int64_t bytes = 8 * capacity_ + 4 * (width_ + 4 * queries_.quads + 5) +
                          fragment_words(path, 16, codes_.bytes) / 4;
    const int64_t fits = std::min(context_.settings.workspace * 5 / 8 / bytes,
                                  room_ / least_chunks(codes_.count));
    const int64_t size = std::clamp<int64_t>(fits, 1, 1 << 16);
    return std::min(size > 256 ? size / 256 * 256 : size, queries_.count);
  }

  void read_sample() {
    const int64_t most = std::min(context_.settings.workspace / 16, int64_t{4} << 20);
    const int64_t wanted = std::min(context_.settings.sample, most / (16 * codes_.quads));
    const int64_t size = std::clamp<int64_t>(wanted, 1, ceil_div(codes_.count, 32));
    auto* const words = workspace_.take<uint32_t>(size * 4 * codes_.quads);
    pack(context_, codes_, codes_.count / size, size, words);
    sample_ = rows_of({words, size}, codes_.bytes);
    // Poisson: with probability above 1 - 1e-4 at least k codes are as near as the sample's
    // rank-th. No limit needs to be larger than the k-th smallest distance of the sample.
    const double expected = static_cast<double>(k_) * size / codes_.count;
    rank_ = std::min<int64_t>(static_cast<int64_t>(expected + 4 * std::sqrt(expected) + 5), k_);
  }

  void select() {
    Path path = context_.settings.path;
    if (path == Path::kAutomatic) path = choose_path(context_.device, queries_.count, codes_.bytes);
    const int64_t size = group_size(path);
    room_ = std::min(room_, size * most_chunks(context_, codes_.count));
    read_sample();
    auto* const words = workspace_.take<uint32_t>(size * 4 * queries_.quads);
    auto* const fragments = workspace_.take<uint32_t>(fragment_words(path, size, codes_.bytes));
    auto* const counts = workspace_.take<int64_t>(room_ * width_);
    auto* const list = workspace_.take<int>(size);
    // Set to zero together: the number of flagged queries, counts, histograms.
    auto* const zeroed = workspace_.take<unsigned>(1 + size + size * width_);
    Found found{workspace_.take<int>(size), workspace_.take<int>(size), zeroed + 1,
                zeroed + 1 + size,          workspace_.take<uint64_t>(size * capacity_),
                0,                          width_,
                static_cast<unsigned>(capacity_), static_cast<unsigned>(k_)};
    for (int64_t first = 0; first < queries_.count; first += size) {
      found.queries = std::min(size, queries_.count - first);
      const Packed packed = pack_queries(first, found.queries, words);
      fill(context_, zeroed, 1 + size + size * width_, 0);
      fill(context_, reinterpret_cast<uint32_t*>(found.lowest), size, width_);
      guess(packed, found, counts);
      if (path == Path::kScan) select_scan(context_, packed, codes_, found);
      if (path == Path::kPopcount) select_popcount(context_, packed, codes_, found);
      if (path == Path::kBinary) select_binary(context_, packed, codes_, found, fragments);
      if (path == Path::kInt8) select_int8(context_, packed, codes_, found, fragments);
      finish(context_, found, sorted_, results(first), zeroed, list);
      const Jobs jobs =
          flagged_jobs(context_, zeroed, list, found.queries, codes_.count, width_, room_);
      count_codes(context_, jobs, packed, codes_, counts);
      counts_to_places(context_, jobs, width_, counts);
      place_codes(context_, jobs, packed, codes_, counts, results(first));
    }
  }

  void guess(const Packed& packed, const Found& found, int64_t* counts) const {
    if (rank_ > sample_.count) {
      fill(context_, reinterpret_cast<uint32_t*>(found.limits), found.queries, width_ - 1);
      return;
    }
    Jobs jobs = jobs_for(context_, found.queries, sample_.count, width_, room_);
    jobs.count = found.queries;  // room_ suffices for all, if necessary in one chunk each
    jobs.chunks = std::min(jobs.chunks, room_ / jobs.count);
    count_codes(context_, jobs, packed, sample_, counts);
    counts_to_places(context_, jobs, width_, counts);
    guess_limits(context_, counts, jobs, rank_, found);
  }

  const Context& context_;
  Workspace workspace_;
  Rows queries_, codes_, sample_{};
  int64_t k_;
  int width_;
  int64_t room_;  // largest number of histograms
  Results results_;
  int64_t sorted_ = 0, largest_k_ = 0, capacity_ = 0, rank_ = 0;
};

}  // namespace

void topk(const Context& context, const Codes& queries, const Codes& database, int64_t k,
          int32_t* distances, int64_t* positions) {
  if (queries.count == 0 || k == 0) return;
  TopK(context, queries, database, k, distances, positions).run();
}

}  // namespace semicon_fast::cuda
