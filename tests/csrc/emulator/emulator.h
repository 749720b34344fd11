// The part of CUDA that kernels use, under its own names, on the host: what csrc/cuda/device.cuh
// includes instead of CUDA's headers when SEMICON_FAST_EMULATE is defined.
#pragma once

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "machine.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct dim3 : emulator::Index {
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : Index{x, y, z} {}
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};

inline const emulator::Index &threadIdx = emulator::thread_index, &blockIdx = emulator::block_index,
                             &blockDim = emulator::block_size, &gridDim = emulator::grid_size;

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>((uint64_t{high} << 32 | low) >> shift % 32);
}

inline void __syncthreads(emulator::Site site = emulator::Site::here()) {
  emulator::synchronize(site);
}

inline void __syncwarp(unsigned mask = ~0u, emulator::Site site = emulator::Site::here()) {
  emulator::Words none{};
  emulator::collective("__syncwarp", mask, none, emulator::nothing, true, site);
}

inline unsigned __ballot_sync(unsigned mask, int predicate,
                              emulator::Site site = emulator::Site::here()) {
  emulator::Words words{{predicate != 0}};
  emulator::collective("__ballot_sync", mask, words, emulator::ballot, false, site);
  return words.word[0];
}

inline unsigned __match_any_sync(unsigned mask, unsigned value,
                                 emulator::Site site = emulator::Site::here()) {
  emulator::Words words{{value}};
  emulator::collective("__match_any_sync", mask, words, emulator::match, false, site);
  return words.word[0];
}

namespace emulator {

template <class T>
T exchange(const char* name, unsigned mask, T value, unsigned from, Site site) {
  static_assert(std::is_integral_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));
  Words words{{0, 0, from}};
  std::memcpy(words.word, &value, sizeof value);
  collective(name, mask, words, shuffle, false, site);
  std::memcpy(&value, words.word, sizeof value);
  return value;
}

}  // namespace emulator

template <class T>
T __shfl_sync(unsigned mask, T value, int from, emulator::Site site = emulator::Site::here()) {
  return emulator::exchange("__shfl_sync", mask, value, static_cast<unsigned>(from) % 32, site);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned by,
                 emulator::Site site = emulator::Site::here()) {
  const unsigned own = emulator::lane();
  return emulator::exchange("__shfl_up_sync", mask, value, own < by ? own : own - by, site);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int by, emulator::Site site = emulator::Site::here()) {
  const unsigned from = (emulator::lane() ^ static_cast<unsigned>(by)) % 32;
  return emulator::exchange("__shfl_xor_sync", mask, value, from, site);
}

// As on the device an atomic operation orders no other memory.
inline unsigned atomicAdd(unsigned* address, unsigned value,
                          emulator::Site site = emulator::Site::here()) {
  emulator::atomic(address, sizeof *address, site);
  return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
}

inline int atomicMin(int* address, int value, emulator::Site site = emulator::Site::here()) {
  emulator::atomic(address, sizeof *address, site);
  int before = __atomic_load_n(address, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(address, &before, std::min(before, value), false,
                                      __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return before;
}
