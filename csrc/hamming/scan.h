// Compares queries with blocks of codes and passes the pairs below a limit to a callback. Tiles of
// queries are held in registers, blocks of codes in cache.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "hamming/blocks.h"
#include "hamming/hamming.h"
#include "hamming/isa/kernels.h"

namespace semicon_fast {

// Some queries, divided into tiles of kernel.queries queries. Slot s is query s % kernel.queries of
// tile s / kernel.queries; slots past `count` repeat the last query with limit 0.
class Group {
 public:
  // rows: numbers of the queries, in slot order. All limits are initially 0.
  Group(const Isa& isa, const Shape& shape, const Codes& queries, const int64_t* rows,
        int64_t count)
      : isa_(isa),
        shape_(shape),
        kernel_(kernel_for(isa, shape, count)),
        count_(count) {
    const int64_t tiles = (count + kernel_.queries - 1) / kernel_.queries;
    const int64_t tile_words = kernel_.queries * shape.query_words();
    words_.resize(static_cast<size_t>(tiles * tile_words));
    tiles_.resize(static_cast<size_t>(tiles), Tile{nullptr, {}, 0});
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t first = tile * kernel_.queries;
      uint64_t* const words = &words_[tile * tile_words];
      pack_tile(queries, shape, rows + first, std::min<int64_t>(kernel_.queries, count - first),
                kernel_.queries, words);
      tiles_[tile].queries = words;
    }
  }
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  const Isa& isa() const { return isa_; }
  int64_t size() const { return count_; }
  const Shape& shape() const { return shape_; }
  const Kernel& kernel() const { return kernel_; }
  const std::vector<Tile>& tiles() const { return tiles_; }

 private:
  const Isa& isa_;
  Shape shape_;
  Kernel kernel_;
  int64_t count_;
  std::vector<uint64_t> words_;
  std::vector<Tile> tiles_;
};

// The limits of a group's queries during one scan. A pair is found if its distance is below the
// limit. The group itself may be shared between threads.
class Limits {
 public:
  explicit Limits(const Group& group) : queries_(group.kernel().queries), tiles_(group.tiles()) {}

  void set(int64_t slot, int32_t limit) {
    tiles_[slot / queries_].limits[slot % queries_] = limit;
  }
  // Recomputes the largest limit of every tile; false if no query has a limit above 0.
  bool update() {
    bool open = false;
    for (Tile& tile : tiles_) {
      tile.limit = *std::max_element(tile.limits, tile.limits + queries_);
      open |= tile.limit > 0;
    }
    return open;
  }
  const std::vector<Tile>& tiles() const { return tiles_; }

 private:
  int queries_;
  std::vector<Tile> tiles_;
};

// Compares a block with all tiles: calls accept(slot, distance, position) for each pair below its
// query's limit, in order of position within a query. Tiles with limit 0 are skipped.
template <class Accept>
class Scan {
 public:
  Scan(const Group& group, Accept accept)
      : kernel_(group.kernel()), shape_(group.shape()), accept_(accept) {
    hits_.resize(static_cast<size_t>(shape_.block_codes() / kernel_.step));
  }

  void operator()(const Block& block, const std::vector<Tile>& tiles) {
    const int64_t steps = (block.count + kernel_.step - 1) / kernel_.step;
    int64_t slot = 0;
    for (const Tile& tile : tiles) {
      if (tile.limit > 0) {
        const int64_t found = kernel_.find(block.packed, steps, shape_.length(), tile, hits_.data());
        for (int64_t i = 0; i < found; ++i) collect(block, tile, slot, hits_[i]);
      }
      slot += kernel_.queries;
    }
  }

 private:
  void collect(const Block& block, const Tile& tile, int64_t slot, int64_t step) {
    uint64_t masks[kTile];
    uint16_t distances[kTile * kStep];
    const int64_t first = step * kernel_.step;
    const uint8_t* packed = block.packed + shape_.packed_bytes(kStep) / kStep * first;
    kernel_.match(packed, shape_.length(), tile, masks, distances);
    const int64_t valid = block.count - first;
    const uint64_t real = valid < 64 ? (uint64_t{1} << valid) - 1 : ~uint64_t{0};
    for (int r = 0; r < kernel_.queries; ++r) {
      for (uint64_t mask = masks[r] & real; mask; mask &= mask - 1) {
        const int code = __builtin_ctzll(mask);
        accept_(slot + r, distances[r * kernel_.step + code], block.first + first + code);
      }
    }
  }

  Kernel kernel_;
  Shape shape_;
  Accept accept_;
  std::vector<int32_t> hits_;
};

// A pair as one integer; integers order like (distance, position).
inline uint64_t pair_key(int64_t distance, int64_t position) {
  return static_cast<uint64_t>(distance) << 48 | static_cast<uint64_t>(position);
}
inline int64_t key_distance(uint64_t key) { return static_cast<int64_t>(key >> 48); }
inline int64_t key_position(uint64_t key) {
  return static_cast<int64_t>(key & ((uint64_t{1} << 48) - 1));
}

}  // namespace semicon_fast
