// Exact Hamming search over packed codes on a CUDA device: what ../hamming.h has for the CPU, with
// the same answers in the same order. Nothing here knows torch or needs a CUDA header.
//
// Every pointer (codes, groups, results) is to memory of the device that is current when a function
// is called. A function puts work on a stream and returns; nothing here waits for the device, and
// every function can be captured in a CUDA graph. What the runtime refuses is a std::runtime_error.
// Codes may have any stride >= 0 and any alignment. Arguments are not checked.
#pragma once

#include <cstddef>
#include <cstdint>

#include "hamming/hamming.h"

struct CUstream_st;

namespace semicon_fast::cuda {

using Stream = CUstream_st*;  // cudaStream_t

// Where a function gets its workspace: memory of the device, aligned to 16 bytes, that nobody else
// uses before the stream has passed what the function put on it (a caching allocator's memory,
// freed after the call, will do). A call asks for less than Settings::workspace in all.
struct Memory {
  void* (*allocate)(void* self, size_t bytes);
  void* self;
};

// The current device, as its driver describes it.
struct Device {
  int multiprocessors;
  int capability;        // 10 * major + minor
  int64_t shared_bytes;  // that one block may have, after opting in
};
Device current_device();

// Who compares the pairs of a k-nearest search.
enum class Path {
  kAutomatic,
  kScan,      // a thread holds codes, for few queries: as fast as memory is read
  kPopcount,  // a thread holds a query
  kBinary,    // tensor cores on bits
  kInt8,      // tensor cores on +-1, where those on bits are emulated
};
constexpr const char* kPathNames[] = {"automatic", "scan", "popcount", "binary", "int8"};

// The defaults are what a search should have. Tests make them small to meet what is rare: with any
// of them positive (sorted a power of two), the results are the same.
struct Settings {
  Path path = Path::kAutomatic;
  int64_t workspace = int64_t{256} << 20;  // bytes a call may ask for
  int64_t candidates = 0;  // keys kept a query; 0: what k needs. Where they overflow, the query is
                           // ranked by counting
  int64_t sorted = 0;      // keys that the final sort of a query may take; 0: what fits
  int64_t sample = 1 << 16;      // codes that the first guess of a query's limit is drawn from
  int64_t select_from = 1 << 12; // a database of fewer codes is ranked by counting
  int64_t chunk = 1 << 10;       // codes a warp counts, at least
};

struct Context {
  Stream stream;
  Memory memory;
  Device device;
  Settings settings;
};

// The path that a k-nearest search takes by itself.
Path choose_path(const Device& device, int64_t queries, int64_t bytes);

// Differing bits of every pair -> distances (Q, N).
void distance(const Context& context, const Codes& queries, const Codes& database,
              int32_t* distances);

// The k nearest, ascending by (distance, position) -> distances (Q, k), positions (Q, k);
// 0 <= k <= N.
void topk(const Context& context, const Codes& queries, const Codes& database, int64_t k,
          int32_t* distances, int64_t* positions);

// How many codes lie at each distance -> counts (Q, 8 * bytes + 1).
void histogram(const Context& context, const Codes& queries, const Codes& database,
               int64_t* counts);

// Groups in the device's memory, where nobody has checked them. A group that there is not has no
// members. Members that are out of range or do not ascend are never followed, but what comes of
// their group is then undefined.
struct DeviceGroups {
  Groups lists;
  int64_t count;  // lims has one more
  int64_t size;   // members has this many
};

// As ../hamming.h has them.
void ranks(const Context& context, const Codes& queries, const Codes& database,
           const DeviceGroups& groups, int64_t* ranks);
void group_histogram(const Context& context, const Codes& queries, const Codes& database,
                     const DeviceGroups& groups, int64_t* counts);

// Every code within a radius (0 <= radius), ascending by (distance, position) within a query:
// first -> lims (Q + 1,); then, when the caller has read lims[Q] and has room for as many,
// -> distances, positions: query q's are the entries lims[q] to lims[q + 1].
void range_count(const Context& context, const Codes& queries, const Codes& database,
                 int64_t radius, int64_t* lims);
void range_write(const Context& context, const Codes& queries, const Codes& database,
                 int64_t radius, const int64_t* lims, int32_t* distances, int64_t* positions);

// The limit that the inner loop sets, for benchmarks: compares 256 queries with one code that
// stands for many, 1024 * iterations a block, where no pair is wanted -> how many pairs. path:
// kPopcount, kBinary or kInt8.
double compare_only(const Context& context, Path path, int64_t bytes, int64_t iterations);

}  // namespace semicon_fast::cuda
