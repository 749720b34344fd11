// The loops of tables_kernels.h, compiled for each instruction set by the files that include this
// between the pragmas of common/target.h, inside a namespace of their own.

SEMICON_FAST_INLINE int64_t difference(uint64_t a, uint64_t b) {
  return __builtin_popcountll(a ^ b);
}

template <class Index>
int64_t near(const Codes& codes, const uint64_t* query, const Index* positions, int64_t count,
             int64_t most, uint32_t* places, uint16_t* distances) {
  int64_t found = 0;
  const auto keep = [&](int64_t i, int64_t distance) {
    // Written in any case and kept if near enough: no branch to predict.
    places[found] = static_cast<uint32_t>(i);
    distances[found] = static_cast<uint16_t>(distance);
    found += distance <= most;
  };
  if (codes.bytes == 8) {
    for (int64_t i = 0; i < count; ++i) {
      uint64_t word;
      std::memcpy(&word, codes.data + static_cast<int64_t>(positions[i]) * codes.stride, 8);
      keep(i, difference(word, *query));
    }
    return found;
  }
  const int64_t whole = codes.bytes / 8, rest = codes.bytes % 8;
  for (int64_t i = 0; i < count; ++i) {
    const uint8_t* code = codes.data + static_cast<int64_t>(positions[i]) * codes.stride;
    int64_t distance = 0;
    for (int64_t w = 0; w < whole; ++w) {
      uint64_t word;
      std::memcpy(&word, code + 8 * w, 8);
      distance += difference(word, query[w]);
    }
    if (rest) distance += difference(load_word(code + 8 * whole, rest), query[whole]);
    keep(i, distance);
  }
  return found;
}

template <int kWords>
SEMICON_FAST_INLINE int64_t rows_of(const uint64_t* query, const uint64_t* rows, int64_t count,
                                    int64_t words, int64_t most, uint32_t* places,
                                    uint16_t* distances) {
  const int64_t width = kWords ? kWords : words;
  int64_t found = 0;
  for (int64_t i = 0; i < count; ++i) {
    int64_t distance = 0;
    for (int64_t w = 0; w < width; ++w) distance += difference(rows[i * width + w], query[w]);
    places[found] = static_cast<uint32_t>(i);
    distances[found] = static_cast<uint16_t>(distance);
    found += distance <= most;
  }
  return found;
}

int64_t rows(const uint64_t* query, const uint64_t* rows, int64_t count, int64_t words,
             int64_t most, uint32_t* places, uint16_t* distances) {
  if (words == 1) return rows_of<1>(query, rows, count, words, most, places, distances);
  if (words == 2) return rows_of<2>(query, rows, count, words, most, places, distances);
  return rows_of<0>(query, rows, count, words, most, places, distances);
}
