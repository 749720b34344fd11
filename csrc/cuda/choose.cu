// Choice of the selection kernel, and a benchmark of the kernels' inner loops.
#include "mma.cuh"

namespace semicon_fast::cuda {

Path choose_path(const Device& device, int64_t queries, int64_t) {
  // These thresholds follow from operation counts and are not confirmed by measurements. Up to 3
  // queries, population counts keep up with memory at any code length. Single-bit products on
  // tensor cores are native from 8.0 to 9.0: a multiprocessor compares 16 queries with 8 codes in
  // the time of 2 to 4 population counts. On devices that emulate them, +-1 as int8 needs four
  // times the operations for the same number of bits.
  constexpr int64_t kScanned = 3, kCounted = 32;
  if (queries <= kScanned) return Path::kScan;
  if (device.capability >= 80 && device.capability <= 90) return Path::kBinary;
  if (device.capability < 80 || queries <= kCounted) return Path::kPopcount;
  return Path::kInt8;
}

int64_t fragment_words(Path path, int64_t queries, int bytes) {
  const Rows rows = rows_of(nullptr, 0, 0, bytes);
  const int64_t step = ceil_div(queries, 16) * kWarp * 4;
  if (path == Path::kBinary) return step * steps_of<Binary>(rows);
  return path == Path::kInt8 ? step * steps_of<Int8>(rows) : 0;
}

double compare_only(const Context& context, Path path, int64_t bytes, int64_t iterations) {
  constexpr int64_t kQueries = 256;
  const Workspace workspace(context);
  const int64_t blocks = int64_t{context.device.multiprocessors} * 16;
  // All codes are the same one (stride 0), so it is read from the L1 cache. The limits of -1
  // exclude every pair.
  Rows codes = rows_of(nullptr, blocks * std::max<int64_t>(iterations, 1) * 1024, 0, bytes);
  auto* const words = workspace.take<uint32_t>((1 + kQueries) * 4 * codes.quads);
  fill(context, words, (1 + kQueries) * 4 * codes.quads, 0);
  codes = rows_of(reinterpret_cast<const uint8_t*>(words), codes.count, 0, bytes);
  auto* const limits = workspace.take<int>(kQueries);
  fill(context, reinterpret_cast<uint32_t*>(limits), kQueries, ~0u);
  const Found found{limits,   nullptr, nullptr, nullptr, nullptr, kQueries,
                    static_cast<int>(8 * bytes + 1), 0, 1};
  const Packed queries{words + 4 * codes.quads, kQueries};
  auto* const fragments = workspace.take<uint32_t>(
      fragment_words(path, kQueries, static_cast<int>(bytes)));
  if (path == Path::kPopcount) select_popcount(context, queries, codes, found);
  if (path == Path::kBinary) select_binary(context, queries, codes, found, fragments);
  if (path == Path::kInt8) select_int8(context, queries, codes, found, fragments);
  return static_cast<double>(kQueries) * static_cast<double>(codes.count);
}

}  // namespace semicon_fast::cuda
