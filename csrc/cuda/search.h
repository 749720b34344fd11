// Exact Hamming search over packed codes on a CUDA device: the functions of hamming/hamming.h, with
// the same results in the same order. Uses neither torch nor CUDA headers.
//
// All pointers (codes, groups, results) are to memory of the current device. Functions queue work
// on a stream and return without waiting for the device; all of them can be captured in a CUDA
// graph. Errors of the CUDA runtime are thrown as std::runtime_error. Codes may have any stride >=
// 0 and any alignment. Arguments are not checked.
#pragma once

#include <cstddef>
#include <cstdint>

#include "hamming/hamming.h"

struct CUstream_st;

namespace semicon_fast::cuda {

using Stream = CUstream_st*;  // cudaStream_t

// Allocates workspace: device memory, aligned to 16 bytes, that must not be reused before the work
// of the call has finished (memory of a caching allocator that is freed after the call is fine). A
// call requests less than Settings::workspace in total.
struct Memory {
  void* (*allocate)(void* self, size_t bytes);
  void* self;
};

// Properties of a device.
struct Device {
  int multiprocessors;
  int capability;        // 10 * major + minor
  int64_t shared_bytes;  // largest shared memory of a block, with opt-in
};
Device current_device();

// How the pairs of a k-nearest search are compared.
enum class Path {
  kAutomatic,
  kScan,      // each thread holds codes; for few queries, bound by memory bandwidth
  kPopcount,  // each thread holds a query
  kBinary,    // tensor cores on single bits
  kInt8,      // tensor cores on +-1 as int8, for devices that emulate single bits
};
constexpr const char* kPathNames[] = {"automatic", "scan", "popcount", "binary", "int8"};

// Tests set small values to reach rare cases: results are the same for all positive values
// (`sorted` a power of two).
struct Settings {
  Path path = Path::kAutomatic;
  int64_t workspace = int64_t{256} << 20;  // bytes that a call may request
  int64_t candidates = 0;  // keys stored per query; 0: depends on k. If they overflow, the query
                           // is ranked by counting
  int64_t sorted = 0;      // largest number of keys in the final sort of a query; 0: what fits
  int64_t sample = 1 << 16;      // codes in the sample from which initial limits are estimated
  int64_t select_from = 1 << 12; // databases with fewer codes are ranked by counting
  int64_t chunk = 1 << 10;       // smallest number of codes that a warp counts
};

struct Context {
  Stream stream;
  Memory memory;
  Device device;
  Settings settings;
};

// The path chosen by Path::kAutomatic.
Path choose_path(const Device& device, int64_t queries, int64_t bytes);

// Hamming distance of every pair -> distances (Q, N).
void distance(const Context& context, const Codes& queries, const Codes& database,
              int32_t* distances);

// The k nearest, ascending by (distance, position) -> distances (Q, k), positions (Q, k);
// 0 <= k <= N.
void topk(const Context& context, const Codes& queries, const Codes& database, int64_t k,
          int32_t* distances, int64_t* positions);

// Histogram of each query's distances to all codes -> counts (Q, 8 * bytes + 1).
void histogram(const Context& context, const Codes& queries, const Codes& database,
               int64_t* counts);

// Groups in device memory, whose contents are not checked. A group number out of range means an
// empty group. If members are out of range or not ascending, no memory is accessed out of bounds,
// but the results of their group are undefined.
struct DeviceGroups {
  Groups lists;
  int64_t count;  // number of groups; lims has one more entry
  int64_t size;   // number of members
};

// See hamming/hamming.h.
void ranks(const Context& context, const Codes& queries, const Codes& database,
           const DeviceGroups& groups, int64_t* ranks);
void group_histogram(const Context& context, const Codes& queries, const Codes& database,
                     const DeviceGroups& groups, int64_t* counts);

// Range search: every code within a radius >= 0, ascending by (distance, position) within a query,
// in two calls. range_count -> lims (Q + 1,). The caller then reads lims[Q] and allocates as many
// entries for range_write -> distances, positions: those of query q are the entries lims[q] to
// lims[q + 1].
void range_count(const Context& context, const Codes& queries, const Codes& database,
                 int64_t radius, int64_t* lims);
void range_write(const Context& context, const Codes& queries, const Codes& database,
                 const int64_t* lims, int32_t* distances, int64_t* positions);

// Upper bound of the speed, for benchmarks: runs the inner loop on 256 queries and one code that is
// repeated, 1024 * iterations codes per block, with no pair within its limit. Returns the number of
// pairs. path: kPopcount, kBinary or kInt8.
double compare_only(const Context& context, Path path, int64_t bytes, int64_t iterations);

}  // namespace semicon_fast::cuda
