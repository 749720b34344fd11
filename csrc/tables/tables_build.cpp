// Builds a table: a stable counting sort of the codes by address, in two passes, so that neither
// writes to more places at once than the caches hold.
#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "common/threads.h"
#include "tables/tables.h"

namespace semicon_fast {
namespace {

// A fixed sequence of numbers that look random (Steele et al., "Fast splittable pseudorandom number
// generators", 2014).
uint64_t mixed(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

}  // namespace

Addresses::Addresses(const Piece& piece)
    : first_byte_(piece.first / 8), bytes_((piece.first + piece.bits - 1) / 8 - first_byte_ + 1) {
  const uint64_t mask = (uint64_t{1} << piece.address_bits) - 1;
  for (int64_t bit = 0; bit < piece.bits; ++bit) {
    // The first bits keep their value: a hash only folds the others into them.
    const bool kept = bit < piece.address_bits;
    const uint64_t number = kept ? uint64_t{1} << bit : mixed(static_cast<uint64_t>(bit)) & mask;
    numbers_.push_back(static_cast<uint32_t>(number));
  }
  lookup_.resize(static_cast<size_t>(256 * bytes_));
  for (int64_t byte = 0; byte < bytes_; ++byte) {
    uint32_t* lookup = &lookup_[256 * byte];
    for (int value = 1; value < 256; ++value) {
      // That of the value without its lowest bit, and the number of this bit if it is the piece's.
      const int64_t bit = 8 * (first_byte_ + byte) + __builtin_ctz(value) - piece.first;
      const bool inside = bit >= 0 && bit < piece.bits;
      lookup[value] = lookup[value & (value - 1)] ^ (inside ? numbers_[bit] : 0);
    }
  }
}

template <class Index>
void build_table(const Codes& codes, const Piece& piece, int threads, Index* offsets,
                 Index* positions) {
  const Addresses addresses(piece);
  const int low_bits = std::min(std::max(piece.address_bits - 10, 0), 16);
  const int64_t parts = int64_t{1} << (piece.address_bits - low_bits);
  const int64_t lows = int64_t{1} << low_bits;
  const int64_t count = codes.count;
  const auto chunks = static_cast<int64_t>(useful_threads(threads, count));
  const auto each = [&](int64_t chunk, const auto& run) {
    for (int64_t i = count * chunk / chunks; i < count * (chunk + 1) / chunks; ++i) {
      run(i, addresses.of(codes.data + i * codes.stride));
    }
  };

  // First pass: by the upper bits of the address, each chunk of the codes behind the one before.
  std::vector<int64_t> places(static_cast<size_t>(chunks * parts));
  parallel(chunks, threads, [&](int64_t chunk) {
    std::vector<int64_t> counts(static_cast<size_t>(parts));
    each(chunk, [&](int64_t, uint32_t address) { ++counts[address >> low_bits]; });
    std::copy(counts.begin(), counts.end(), places.begin() + chunk * parts);
  });
  std::vector<int64_t> starts(static_cast<size_t>(parts + 1));
  int64_t sum = 0;
  for (int64_t part = 0; part < parts; ++part) {
    starts[part] = sum;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      sum += std::exchange(places[chunk * parts + part], sum);
    }
  }
  starts[parts] = sum;
  std::vector<uint16_t> low(low_bits ? static_cast<size_t>(count) : 0);
  parallel(chunks, threads, [&](int64_t chunk) {
    std::vector<int64_t> next(places.begin() + chunk * parts, places.begin() + (chunk + 1) * parts);
    each(chunk, [&](int64_t i, uint32_t address) {
      const int64_t place = next[address >> low_bits]++;
      positions[place] = static_cast<Index>(i);
      if (low_bits) low[place] = static_cast<uint16_t>(address & (lows - 1));
    });
  });

  // Second pass: each part by the lower bits.
  offsets[parts * lows] = static_cast<Index>(count);
  parallel(parts, useful_threads(threads, count + parts * lows), [&](int64_t part) {
    const int64_t start = starts[part], size = starts[part + 1] - start;
    std::vector<int64_t> next(static_cast<size_t>(lows + 1));
    for (int64_t i = 0; low_bits && i < size; ++i) ++next[low[start + i] + 1];
    for (int64_t a = 0; a < lows; ++a) {
      next[a + 1] += next[a];
      offsets[part * lows + a] = static_cast<Index>(start + next[a]);
    }
    if (!low_bits) return;
    const std::vector<Index> before(positions + start, positions + start + size);
    for (int64_t i = 0; i < size; ++i) positions[start + next[low[start + i]]++] = before[i];
  });
}

template void build_table(const Codes&, const Piece&, int, uint32_t*, uint32_t*);
template void build_table(const Codes&, const Piece&, int, uint64_t*, uint64_t*);

}  // namespace semicon_fast
