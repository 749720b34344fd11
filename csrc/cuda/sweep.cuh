// Each thread of a block holds one code and compares it with a range of other codes, which the
// block reads into shared memory one tile at a time. All threads then read the same word of shared
// memory, which is a broadcast without bank conflicts.
#pragma once

#include "stages.h"

namespace semicon_fast::cuda {

constexpr int kLanes = 128;  // largest number of threads per block
constexpr int kBatch = 4;    // codes whose distances are computed together
constexpr int kTileBytes = 8 << 10;

__device__ __forceinline__ int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }

// Words per code in a tile.
template <int kWords>
__device__ __host__ __forceinline__ int tile_stride(const Rows& codes) {
  return kWords > 0 ? kWords : 4 * codes.quads;
}

inline int tile_codes(const Rows& codes) {
  return std::clamp(kTileBytes / (16 * codes.quads) / kBatch * kBatch, 16, 256);
}

template <int kWords>
int64_t sweep_bytes(const Rows& codes, int threads, int tile) {
  const int64_t lanes = kWords > 0 ? 0 : int64_t{threads} * 4 * codes.quads;
  return 4 * (lanes + int64_t{tile} * tile_stride<kWords>(codes));
}

// Number of codes that a block compares with its queries, a multiple of `tile`: small enough that
// there are many blocks per multiprocessor and that blocks with the same codes share them in the
// cache, and at least `least`, so that the start of a block does not matter.
inline int64_t chunk_codes(const Context& context, int64_t blocks, const Rows& codes, int tile,
                           int64_t least) {
  constexpr int64_t kCached = 4 << 20, kMostChunks = 65535;
  const int64_t wanted = std::max<int64_t>(1, context.device.multiprocessors * 16 / blocks);
  const int64_t spread = ceil_div(codes.count, wanted);
  const int64_t chunk = std::clamp<int64_t>(spread, least, kCached / codes.bytes);
  return ceil_div(std::max(chunk, ceil_div(codes.count, kMostChunks)), tile) * tile;
}

// Reads codes start to start + count - 1 into shared memory as words, followed by zeros up to
// `tile`.
template <int kWords>
__device__ void read_tile(const Rows& codes, int64_t start, int count, int tile, uint32_t* words) {
  const int quads = kWords > 0 ? (kWords + 3) / 4 : codes.quads;
  const int stride = tile_stride<kWords>(codes);
  for (int i = threadIdx.x; i < tile * quads; i += blockDim.x) {
    const int row = i / quads, quad = i % quads;
    const uint4 value = row < count ? load_quad(codes, start + row, quad) : uint4{0, 0, 0, 0};
    uint32_t* const to = words + row * stride + 4 * quad;
    if constexpr (kWords == 2) {
      *reinterpret_cast<uint2*>(to) = uint2{value.x, value.y};
    } else {
      *reinterpret_cast<uint4*>(to) = value;
    }
  }
}

// The code held by a thread: in registers, or in a column of shared memory.
template <int kWords>
struct Own {
  Query<kWords> query;

  __device__ void read(const Rows& lanes, int64_t row, uint32_t*) {
#pragma unroll
    for (int quad = 0; quad < (kWords + 3) / 4; ++quad) {
      const uint4 value = load_quad(lanes, row, quad);
      query.words[4 * quad] = value.x;
      query.words[4 * quad + 1] = value.y;
      if constexpr (kWords > 2) {
        query.words[4 * quad + 2] = value.z;
        query.words[4 * quad + 3] = value.w;
      }
    }
  }
  __device__ __forceinline__ void distances(const uint32_t* tile, int, int (&sums)[kBatch]) const {
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      sums[i] = 0;
      if constexpr (kWords == 2) {
        const uint2 half = load<uint2>(tile + i * kWords);
        sums[i] = query.distance(uint4{half.x, half.y, 0, 0}, 0);
      } else {
#pragma unroll
        for (int quad = 0; quad < kWords / 4; ++quad) {
          sums[i] += query.distance(load<uint4>(tile + i * kWords + 4 * quad), 4 * quad);
        }
      }
    }
  }
};

template <>
struct Own<0> {
  const uint32_t* column;
  int quads;

  __device__ void read(const Rows& lanes, int64_t row, uint32_t* columns) {
    column = columns + threadIdx.x;
    quads = lanes.quads;
    for (int quad = 0; quad < quads; ++quad) {
      const uint4 value = load_quad(lanes, row, quad);
      uint32_t* const to = columns + 4 * quad * blockDim.x + threadIdx.x;
      to[0] = value.x;
      to[blockDim.x] = value.y;
      to[2 * blockDim.x] = value.z;
      to[3 * blockDim.x] = value.w;
    }
  }
  __device__ __forceinline__ void distances(const uint32_t* tile, int stride,
                                            int (&sums)[kBatch]) const {
#pragma unroll
    for (int i = 0; i < kBatch; ++i) sums[i] = 0;
    for (int quad = 0; quad < quads; ++quad) {
      const uint32_t* const from = column + 4 * quad * blockDim.x;
      const uint4 own{from[0], from[blockDim.x], from[2 * blockDim.x], from[3 * blockDim.x]};
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        sums[i] += differing(own, load<uint4>(tile + i * stride + 4 * quad));
      }
    }
  }
};

// Compares code `lane` of `lanes` (beyond their end, the last one) with codes first to last - 1.
// Calls visit.next_tile() for each tile, then visit(position, distances, count) for every kBatch
// codes from `position` on, of which the first `count` are valid. Uses the first sweep_bytes of
// shared memory.
template <int kWords, class Visit>
__device__ __forceinline__ void sweep(const Rows& lanes, int64_t lane, const Rows& codes,
                                      int64_t first, int64_t last, int tile, Visit& visit) {
  auto* const columns = reinterpret_cast<uint32_t*>(shared_memory());
  uint32_t* const words = columns + (kWords > 0 ? 0 : blockDim.x * 4 * codes.quads);
  const int stride = tile_stride<kWords>(codes);
  Own<kWords> own;
  own.read(lanes, min_of(lane, lanes.count - 1), columns);
  for (int64_t start = first; start < last; start += tile) {
    const auto count = static_cast<int>(min_of(tile, last - start));
    __syncthreads();
    read_tile<kWords>(codes, start, count, tile, words);
    __syncthreads();
    visit.next_tile();
    // Full batches by themselves: inlined, visit need not compare each code with their number.
    const int full = count / kBatch * kBatch;
    int sums[kBatch];
    for (int i = 0; i < full; i += kBatch) {
      own.distances(words + i * stride, stride, sums);
      visit(start + i, sums, kBatch);
    }
    if (full < count) {
      own.distances(words + full * stride, stride, sums);
      visit(start + full, sums, count - full);
    }
  }
}

}  // namespace semicon_fast::cuda
