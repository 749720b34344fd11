// Speed of a scan's inner loop alone, for benchmarks.
#include <atomic>
#include <chrono>
#include <numeric>

#include "hamming/hamming.h"
#include "common/threads.h"
#include "hamming/scan.h"

namespace semicon_fast {

double scan_rate(int64_t bytes, int threads, double seconds) {
  using Clock = std::chrono::steady_clock;
  constexpr int64_t kQueries = 64;
  const Isa& isa = active_isa();
  const Shape shape(bytes, isa, kQueries);
  const int64_t count = shape.block_codes();
  const std::vector<uint8_t> zeros(static_cast<size_t>(kQueries * bytes));
  const std::vector<uint8_t> ones(static_cast<size_t>(count * bytes), 255);
  const Codes queries{zeros.data(), kQueries, bytes, bytes};
  const Codes codes{ones.data(), count, bytes, bytes};
  std::vector<int64_t> rows(kQueries);
  std::iota(rows.begin(), rows.end(), int64_t{0});
  const Group group(isa, shape, queries, rows.data(), kQueries);
  std::atomic<int64_t> pairs{0};
  const auto start = Clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
  parallel(threads, threads, [&](int64_t) {
    Limits limits(group);
    // No pair is below it, and nothing is left out of a distance.
    const auto limit = static_cast<int32_t>(shape.bits());
    for (int64_t slot = 0; slot < kQueries; ++slot) limits.set(slot, limit);
    limits.update();
    const auto accept = [](int64_t, int64_t, int64_t) {};
    Scan<decltype(accept)> scan(group, accept);
    Blocks blocks(isa, codes, shape, 0, count, count);
    Block block;
    blocks.next(&block);
    int64_t own = 0;
    for (; elapsed() < seconds; own += kQueries * block.count) scan(block, limits.tiles());
    pairs += own;
  });
  return static_cast<double>(pairs) / elapsed();
}

}  // namespace semicon_fast
