// The stages of a search, each with its kernels in a file of its own.
#pragma once

#include "found.cuh"
#include "rows.cuh"
#include "workspace.h"

namespace semicon_fast::cuda {

// pack.cu: every `every`-th code -> (count, 4 * quads) words, zeros after a code's end.
void pack(const Context& context, const Rows& codes, int64_t every, int64_t count,
          uint32_t* packed);
void fill(const Context& context, uint32_t* words, int64_t count, uint32_t value);

// Packed queries.
struct Packed {
  const uint32_t* words;  // (count, 4 * quads)
  int64_t count;
};

// scan.cu, popcount.cu, binary.cu, int8.cu: enters every code within its query's limit.
// `words` is workspace: fragment_words(...) of them.
void select_scan(const Context& context, const Packed& queries, const Rows& codes,
                 const Found& found);
void select_popcount(const Context& context, const Packed& queries, const Rows& codes,
                     const Found& found);
void select_binary(const Context& context, const Packed& queries, const Rows& codes,
                   const Found& found, uint32_t* words);
void select_int8(const Context& context, const Packed& queries, const Rows& codes,
                 const Found& found, uint32_t* words);
int64_t fragment_words(Path path, int64_t queries, int bytes);

// Which queries are counted, and in how many chunks of the database: all of 0..count-1, or, where
// `flagged` is set, the first *flagged of `list`, in as many chunks as there is room for.
struct Jobs {
  int64_t count, chunks;
  const unsigned* flagged;
  const int* list;
  int64_t room;         // histograms, jobs times chunks
  int64_t least, most;  // chunks
};
// As many queries, from the first on, as `room` histograms allow.
Jobs jobs_for(const Context& context, int64_t queries, int64_t codes, int64_t room);
Jobs flagged_jobs(const Context& context, const unsigned* flagged, const int* list, int64_t queries,
                  int64_t codes, int64_t room);
// Chunks whose codes can be counted in 32 bits; chunks that are worth a warp each.
inline int64_t least_chunks(int64_t codes) { return codes / (int64_t{1} << 31) + 1; }
inline int64_t most_chunks(const Context& context, int64_t codes) {
  return std::clamp<int64_t>(ceil_div(codes, context.settings.chunk), least_chunks(codes), 65535);
}

// count.cu: how many codes of each chunk lie at each distance -> counts (jobs, width, chunks). Or
// how many of those in the query's group.
void count_codes(const Context& context, const Jobs& jobs, const Packed& queries, const Rows& codes,
                 int64_t* counts);
void count_members(const Context& context, const Jobs& jobs, const Packed& queries,
                   const Rows& codes, const DeviceGroups& groups, int64_t* counts);
// (jobs, width, chunks) -> sums (jobs, spans), each of `length` neighbours.
void sum_counts(const Context& context, const Jobs& jobs, int width, const int64_t* counts,
                int64_t spans, int64_t length, int64_t* sums);

// rank.cu. Counts become places: how many codes come before the first of this distance and chunk.
void counts_to_places(const Context& context, const Jobs& jobs, int width, int64_t* counts);

// Where query q's results go: `size` from q * size, or lims[q] to lims[q + 1].
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
// values (count,) become their running sums, in place.
void accumulate(const Context& context, int64_t* values, int64_t count);
// sizes (queries,): members of each query's group.
void group_sizes(const Context& context, const DeviceGroups& groups, int64_t queries,
                 int64_t* sizes);

// finish.cu: limits from a sample's places (queries, width, chunks): the rank-th smallest distance.
void guess_limits(const Context& context, const int64_t* places, const Jobs& jobs, int64_t rank,
                  const Found& found);
// The k smallest keys of every query, sorted, into the results; queries that lost some, have too
// few, or have more than `sorted` that may be among them, are flagged instead.
void finish(const Context& context, const Found& found, int64_t sorted, const Results& results,
            unsigned* flagged, int* list);

}  // namespace semicon_fast::cuda
