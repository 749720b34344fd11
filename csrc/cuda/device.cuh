// The only file that uses names of the CUDA compiler and runtime. With SEMICON_FAST_EMULATE the
// same kernels are compiled for the host, with "emulator.h". Kernels may use the following and
// nothing else:
//
//   __global__ __device__ __forceinline__ __launch_bounds__; dim3, uint2, uint4
//   threadIdx.x blockIdx.x blockIdx.y blockDim.x gridDim.x
//   __syncthreads() __syncwarp()                   all threads of the block, all 32 of the warp
//   __ballot_sync __shfl_sync __shfl_up_sync __shfl_xor_sync      with mask kAll, by all 32 lanes
//   __popc(unsigned) __ffs(int) __funnelshift_r(unsigned low, unsigned high, unsigned shift)
//   atomicAdd(unsigned*, unsigned)                 on global and shared memory
//   atomicMin(int*, int)                           on global memory
// and these definitions of this file, in namespace semicon_fast::cuda:
//   shared_memory()    the block's shared memory, aligned to 16 bytes; all of it is dynamic
//   load<T>(p)         T of 4, 8 or 16 aligned bytes
//   load_fresh(p)      an int or unsigned that other threads change by atomics at the same time
//   copy_async<T>(to, from)      copies such a T from global to shared memory asynchronously
//   copy_async_wait()            data is visible after every copying thread called it and a barrier
//   match(value)       mask of the lanes of the warp that have the same value
//   mma_b1 mma_s8      tensor core products, by the whole warp
//   launch(kernel, grid, block, shared_bytes, stream, arguments...)
//
// Blocks are one-dimensional, consist of whole warps, and do not wait for each other.
#pragma once

#include <cstdint>
#include <cstring>

#include "search.h"

#ifdef SEMICON_FAST_EMULATE

#include "emulator.h"

namespace semicon_fast::cuda {

constexpr unsigned kAll = ~0u;

inline uint8_t* shared_memory() { return static_cast<uint8_t*>(emulator::dynamic_shared()); }

template <class T>
T load(const void* p, emulator::Site site = emulator::Site::here()) {
  return *emulator::aligned(static_cast<const T*>(p), site);
}

template <class T>
T load_fresh(const T* p, emulator::Site site = emulator::Site::here()) {
  emulator::atomic(p, sizeof(T), site);
  return __atomic_load_n(p, __ATOMIC_RELAXED);
}

template <class T>
void copy_async(void* to, const void* from, emulator::Site site = emulator::Site::here()) {
  emulator::aligned(static_cast<T*>(to), site);
  emulator::aligned(static_cast<const T*>(from), site);
  emulator::copy_later(to, from, sizeof(T), site);
}

inline void copy_async_wait() { emulator::copy_now(); }

inline unsigned match(unsigned value, emulator::Site site = emulator::Site::here()) {
  return __match_any_sync(kAll, value, site);
}

inline void mma_b1(int (&d)[4], const uint4& a, const uint2& b, const int (&c)[4],
                   emulator::Site site = emulator::Site::here()) {
  emulator::mma_b1_and_popc(d, {a.x, a.y, a.z, a.w}, {b.x, b.y}, c, site);
}

inline void mma_s8(int (&d)[4], const uint4& a, const uint2& b, const int (&c)[4],
                   emulator::Site site = emulator::Site::here()) {
  emulator::mma_s8(d, {a.x, a.y, a.z, a.w}, {b.x, b.y}, c, site);
}

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, int64_t shared_bytes, Stream,
            const Arguments&... arguments) {
  emulator::launch(kernel, grid, block, static_cast<size_t>(shared_bytes), arguments...);
}

}  // namespace semicon_fast::cuda

#else

#include <cuda_runtime.h>

#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>

namespace semicon_fast::cuda {

constexpr unsigned kAll = ~0u;

__device__ __forceinline__ uint8_t* shared_memory() {
  extern __shared__ __align__(16) uint8_t memory[];
  return memory;
}

template <class T>
__device__ __forceinline__ T load(const void* p) {
  return *static_cast<const T*>(p);
}

template <class T>
__device__ __forceinline__ T load_fresh(const T* p) {
  return *static_cast<const volatile T*>(p);
}

template <class T>
__device__ __forceinline__ void copy_async(void* to, const void* from) {
  const auto shared = static_cast<unsigned>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(shared), "l"(from),
               "n"(static_cast<int>(sizeof(T)))
               : "memory");
}

__device__ __forceinline__ void copy_async_wait() {
  asm volatile("cp.async.wait_all;" ::: "memory");
}

__device__ __forceinline__ unsigned match(unsigned value) { return __match_any_sync(kAll, value); }

// D = A B + C over 16 rows of A, 8 columns of B. Lane l has g = l / 4 and t = l % 4.
//   d, c  {(g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1)}                      (row, column)
// A and B have 8 words of 32 bits along the inner dimension. For mma_b1 a word is 32 single bits,
// and the product counts the bits set in both; for mma_s8 it is 4 signed bytes, the first in the
// lowest bits.
//   a     {(row g, word t), (row g + 8, word t), (row g, word t + 4), (row g + 8, word t + 4)}
//   b     {(column g, word t), (column g, word t + 4)}
__device__ __forceinline__ void mma_b1(int (&d)[4], const uint4& a, const uint2& b,
                                       const int (&c)[4]) {
  asm("mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};"
      : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y), "r"(c[0]), "r"(c[1]), "r"(c[2]),
        "r"(c[3]));
}

__device__ __forceinline__ void mma_s8(int (&d)[4], const uint4& a, const uint2& b,
                                       const int (&c)[4]) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};"
      : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y), "r"(c[0]), "r"(c[1]), "r"(c[2]),
        "r"(c[3]));
}

// Throws std::runtime_error if a call of the CUDA runtime failed; the runtime forgets the error.
inline void check(cudaError_t error) {
  if (error != cudaSuccess) {
    cudaGetLastError();
    throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(error));
  }
}

// Lets launches of a kernel on the current device have as much shared memory as the device allows.
// The limit belongs to the kernel and not to a launch, and threads launch at the same time: so it is
// raised once, to the largest there is, and never lowered.
inline void allow_shared_memory(const void* kernel) {
  static std::mutex mutex;
  static std::set<std::pair<const void*, int>> raised;
  int device = 0, most = 0;
  check(cudaGetDevice(&device));
  const std::lock_guard<std::mutex> lock(mutex);
  if (raised.count({kernel, device})) return;
  check(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most));
  raised.insert({kernel, device});
}

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, int64_t shared_bytes,
            Stream stream, const Arguments&... arguments) {
  const auto* entry = reinterpret_cast<const void*>(kernel);
  // Every kernel may have this much.
  if (shared_bytes > (48 << 10)) allow_shared_memory(entry);
  std::tuple<Parameters...> values{static_cast<Parameters>(arguments)...};
  std::apply(
      [&](auto&... value) {
        void* pointers[] = {&value...};
        check(cudaLaunchKernel(entry, grid, block, pointers, static_cast<size_t>(shared_bytes),
                               stream));
      },
      values);
}

}  // namespace semicon_fast::cuda

#endif
