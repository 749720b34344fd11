// What launches of the search kernels consist of, by the functions that launch them: one line for
// each kernel and length of codes. Nothing is launched, so that kernels are not linked.
#include <cstdio>

#include "count.cu"
#include "scan.cu"
#include "select_mma.cuh"

using namespace semicon_fast::cuda;

namespace {

const Context context{nullptr, {nullptr, nullptr}, {132, 90, 227 << 10}, {}};

template <int kBytes>
void dense() {
  using Codes = Unit<kBytes>;
  const int turn = kWarp * Codes::kLoads * 16 * Codes::kQuads;
  std::printf("scan_dense %d turn_bytes %d turns %d shared 0\n", kBytes, turn, kFreshBytes / turn);
}

Rows rows(int bytes) {
  return rows_of(static_cast<const uint8_t*>(nullptr), 1 << 20, bytes, bytes);
}

void swept(int bytes) {
  const Rows codes = rows(bytes);
  const int tile = tile_codes(codes);
  with_words(bytes, [&](auto words) {
    constexpr int kWords = decltype(words)::value;
    std::printf("select_lanes %d tile %d shared %lld\n", bytes, tile,
                (long long)sweep_bytes<kWords>(codes, kLanes, tile));
    const int threads = column_threads<kWords>(context, codes, tile);
    std::printf("count_columns %d tile %d shared %lld\n", bytes, tile,
                (long long)column_bytes<kWords>(codes, threads, tile));
  });
}

void multiplied(int bytes, int tiles) {
  const Rows codes = rows(bytes);
  const int tile = mma_tile(context, codes, tiles), groups = tiles == 1 ? 1 : 4;
  std::printf("select_mma.%d %d tile %d shared %lld\n", tiles, bytes, tile,
              (long long)(raw_tiles(codes) ? mma_bytes<true>(codes, tile, groups * tiles)
                                           : mma_bytes<false>(codes, tile, groups * tiles)));
}

template <int... kBytes>
void all_dense(std::integer_sequence<int, kBytes...>) {
  (dense<kBytes>(), ...);
}

}  // namespace

int main() {
  all_dense(DenseBytes{});
  for (const int bytes : {2, 3, 6, 8, 12, 16, 24, 32, 64, 128}) {
    std::printf("scan_rows %d turn_bytes %d turns %d shared 0\n", bytes, kWarp * bytes,
                fresh_turns(kWarp * bytes));
    swept(bytes);
    for (const int tiles : {1, 4}) multiplied(bytes, tiles);
  }
}
