// Histograms, ranks and range search: the distances to all codes are counted and, for ranks and
// range search, converted to output positions.
#include "stages.h"

namespace semicon_fast::cuda {
namespace {

// Calls visit(first, jobs, packed, counts) for groups of as many queries as fit into the workspace.
// counts has room for `sets` histograms per job and chunk.
template <class Visit>
void for_groups(const Context& context, const Rows& queries, int64_t codes, int sets,
                Visit&& visit) {
  const Workspace workspace(context);
  const int width = 8 * queries.bytes + 1;
  const int64_t room = std::max(context.settings.workspace / 2 / 8 / width / sets,
                                least_chunks(codes));
  const Jobs all = jobs_for(context, queries.count, codes, width, room);
  auto* const counts = workspace.take<int64_t>(sets * all.count * all.chunks * width);
  auto* const words = workspace.take<uint32_t>(all.count * 4 * queries.quads);
  for (int64_t first = 0; first < queries.count; first += all.count) {
    Jobs jobs = all;
    jobs.count = std::min(all.count, queries.count - first);
    pack(context, slice(queries, first, jobs.count), 1, jobs.count, words);
    visit(first, jobs, Packed{words, jobs.count}, counts);
  }
}

DeviceGroups from(DeviceGroups groups, int64_t first) {
  groups.lists.of += first;
  return groups;
}

// Counts by distance, then sums over the chunks and over `near` consecutive distances each -> sums
// (Q, spans). count(first, jobs, packed, chunks) counts for the queries from `first` on.
template <class Count>
void sum_by_distance(const Context& context, const Codes& queries, const Rows& codes, int64_t spans,
                     int64_t near, int64_t* sums, Count&& count) {
  if (queries.count == 0) return;
  const int width = 8 * codes.bytes + 1;
  for_groups(context, rows_of(queries), codes.count, 1,
             [&](int64_t first, const Jobs& jobs, const Packed& packed, int64_t* chunks) {
               count(first, jobs, packed, chunks);
               sum_counts(context, jobs, width, chunks, spans, near * jobs.chunks,
                          sums + first * spans);
             });
}

}  // namespace

void histogram(const Context& context, const Codes& queries, const Codes& database,
               int64_t* counts) {
  const Rows codes = rows_of(database);
  sum_by_distance(context, queries, codes, 8 * codes.bytes + 1, 1, counts,
                  [&](int64_t, const Jobs& jobs, const Packed& packed, int64_t* chunks) {
                    count_codes(context, jobs, packed, codes, chunks);
                  });
}

void group_histogram(const Context& context, const Codes& queries, const Codes& database,
                     const DeviceGroups& groups, int64_t* counts) {
  const Rows codes = rows_of(database);
  sum_by_distance(context, queries, codes, 8 * codes.bytes + 1, 1, counts,
                  [&](int64_t first, const Jobs& jobs, const Packed& packed, int64_t* chunks) {
                    count_members(context, jobs, packed, codes, from(groups, first), chunks);
                  });
}

void ranks(const Context& context, const Codes& queries, const Codes& database,
           const DeviceGroups& groups, int64_t* ranks) {
  if (queries.count == 0) return;
  const Rows codes = rows_of(database);
  const int width = 8 * codes.bytes + 1;
  auto* const lims = Workspace(context).take<int64_t>(queries.count + 1);
  fill(context, reinterpret_cast<uint32_t*>(lims), 2, 0);
  group_sizes(context, groups, queries.count, lims + 1);
  accumulate(context, lims + 1, queries.count);
  for_groups(context, rows_of(queries), codes.count, 2,
             [&](int64_t first, const Jobs& jobs, const Packed& packed, int64_t* places) {
               const DeviceGroups some = from(groups, first);
               int64_t* const member_places = places + jobs.count * jobs.chunks * width;
               count_codes(context, jobs, packed, codes, places);
               count_members(context, jobs, packed, codes, some, member_places);
               counts_to_places(context, jobs, width, places);
               counts_to_places(context, jobs, width, member_places);
               place_members(context, jobs, packed, codes, some, places, member_places,
                             lims + first, ranks);
             });
}

void range_count(const Context& context, const Codes& queries, const Codes& database,
                 int64_t radius, int64_t* lims) {
  fill(context, reinterpret_cast<uint32_t*>(lims), 2, 0);
  if (queries.count == 0) return;
  const Rows codes = rows_of(database);
  const int64_t near = std::min<int64_t>(radius, 8 * codes.bytes) + 1;
  sum_by_distance(context, queries, codes, 1, near, lims + 1,
                  [&](int64_t, const Jobs& jobs, const Packed& packed, int64_t* chunks) {
                    count_codes(context, jobs, packed, codes, chunks);
                  });
  accumulate(context, lims + 1, queries.count);
}

void range_write(const Context& context, const Codes& queries, const Codes& database,
                 const int64_t* lims, int32_t* distances, int64_t* positions) {
  if (queries.count == 0) return;
  const Rows codes = rows_of(database);
  const int width = 8 * codes.bytes + 1;
  for_groups(context, rows_of(queries), codes.count, 1,
             [&](int64_t first, const Jobs& jobs, const Packed& packed, int64_t* places) {
               count_codes(context, jobs, packed, codes, places);
               counts_to_places(context, jobs, width, places);
               place_codes(context, jobs, packed, codes, places,
                           {0, lims + first, distances, positions});
             });
}

}  // namespace semicon_fast::cuda
