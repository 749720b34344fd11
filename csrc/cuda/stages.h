// The stages of a search; the kernels of each are in the file named with it.
#pragma once

#include "found.cuh"
#include "rows.cuh"
#include "workspace.h"

namespace semicon_fast::cuda {

// pack.cu: copies every `every`-th code -> (count, 4 * quads) words, zeros beyond the end of a
// code.
void pack(const Context& context, const Rows& codes, int64_t every, int64_t count,
          uint32_t* packed);
void fill(const Context& context, uint32_t* words, int64_t count, uint32_t value);

// Packed queries.
struct Packed {
  const uint32_t* words;  // (count, 4 * quads)
  int64_t count;
};
inline Rows rows_of(const Packed& packed, int64_t bytes) {
  return rows_of(reinterpret_cast<const uint8_t*>(packed.words), packed.count,
                 (bytes + 15) / 16 * 16, bytes);
}

// scan.cu, popcount.cu, binary.cu, int8.cu: append every code within its query's limit. `words` is
// workspace of fragment_words(...) words.
void select_scan(const Context& context, const Packed& queries, const Rows& codes,
                 const Found& found);
void select_popcount(const Context& context, const Packed& queries, const Rows& codes,
                     const Found& found);
void select_binary(const Context& context, const Packed& queries, const Rows& codes,
                   const Found& found, uint32_t* words);
void select_int8(const Context& context, const Packed& queries, const Rows& codes,
                 const Found& found, uint32_t* words);
int64_t fragment_words(Path path, int64_t queries, int bytes);

// Which queries are counted, and in how many chunks of the database: queries 0..count-1 in `chunks`
// chunks or, if `flagged` is set, the first *flagged entries of `list`, in as many chunks as fit.
struct Jobs {
  int64_t count, chunks;
  const unsigned* flagged;
  const int* list;
  int64_t room;         // largest number of histograms, jobs times chunks
  int64_t least, most;  // bounds of the number of chunks
};
// Jobs for as many queries, from the first on, as `room` histograms of `width` distances allow.
Jobs jobs_for(const Context& context, int64_t queries, int64_t codes, int width, int64_t room);
Jobs flagged_jobs(const Context& context, const unsigned* flagged, const int* list, int64_t queries,
                  int64_t codes, int width, int64_t room);
// Most counts of a query, over all of its chunks: a single block converts them to places, 512 at a
// time, which is not to take longer than reading the codes.
constexpr int64_t kMostCounts = 1 << 19;
// Fewest chunks whose codes can be counted in 32 bits; most chunks that are each worth a warp.
inline int64_t least_chunks(int64_t codes) { return codes / (int64_t{1} << 31) + 1; }
inline int64_t most_chunks(const Context& context, int64_t codes) {
  return std::clamp<int64_t>(ceil_div(codes, context.settings.chunk), least_chunks(codes), 65535);
}

// count.cu: histogram of the distances to the codes of each chunk, or to those of them in the
// query's group -> counts (jobs, width, chunks).
void count_codes(const Context& context, const Jobs& jobs, const Packed& queries, const Rows& codes,
                 int64_t* counts);
void count_members(const Context& context, const Jobs& jobs, const Packed& queries,
                   const Rows& codes, const DeviceGroups& groups, int64_t* counts);
// Sums of `length` consecutive counts: (jobs, width, chunks) -> sums (jobs, spans).
void sum_counts(const Context& context, const Jobs& jobs, int width, const int64_t* counts,
                int64_t spans, int64_t length, int64_t* sums);

// rank.cu: replaces counts by places, the number of codes that come before the first code of this
// distance and chunk in the result.
void counts_to_places(const Context& context, const Jobs& jobs, int width, int64_t* counts);

// Output of query q: `size` entries from q * size on or, if lims is set, entries lims[q] to
// lims[q + 1].
struct Results {
  int64_t size;
  const int64_t* lims;
  int32_t* distances;
  int64_t* positions;
};
void place_codes(const Context& context, const Jobs& jobs, const Packed& queries, const Rows& codes,
                 const int64_t* places, const Results& results);
void place_members(const Context& context, const Jobs& jobs, const Packed& queries,
                   const Rows& codes, const DeviceGroups& groups, const int64_t* places,
                   const int64_t* member_places, const int64_t* lims, int64_t* ranks);
// Inclusive prefix sum of values (count,), in place.
void accumulate(const Context& context, int64_t* values, int64_t count);
// Number of members of each query's group -> sizes (queries,).
void group_sizes(const Context& context, const DeviceGroups& groups, int64_t queries,
                 int64_t* sizes);

// finish.cu: sets each limit to the rank-th smallest distance of a sample, from its places
// (queries, width, chunks).
void guess_limits(const Context& context, const int64_t* places, const Jobs& jobs, int64_t rank,
                  const Found& found);
// Writes the k smallest keys of every query to the results, sorted. Queries whose keys overflowed,
// that have too few keys, or more than `sorted` candidates for the result, are flagged instead.
void finish(const Context& context, const Found& found, int64_t sorted, const Results& results,
            unsigned* flagged, int* list);

}  // namespace semicon_fast::cuda
