// CUDA kernels on the host, for tests: what a launch does and what its threads share. README.md says
// what this proves and what it cannot. emulator.h has the names that kernels use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>

namespace emulator {

struct Index {
  unsigned x, y, z;
};

// A place in a kernel's source; a default argument `Site site = Site::here()` is its caller's.
struct Site {
  const char* file;
  int line;
  static constexpr Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
};

// The running thread; threadIdx and its kin are names for these.
extern Index thread_index, block_index, block_size, grid_size;

// The order in which threads and blocks run. 0: forward, 1: backward, others: shuffled, up to three
// blocks at a time, atomics giving way at random. Also what fresh shared memory holds.
void set_schedule(uint64_t seed);

// What a block of the device may have; 227 KB, of sm_90, until it is called.
void set_shared_limit(size_t bytes);

// What CUDA refuses is refused here: sizes of blocks and grids, too much shared memory.
void run(Index grid, Index block, size_t shared_bytes, const std::function<void()>& body);

// The block's dynamic shared memory: on the heap, of exactly its size, full of noise at first.
void* dynamic_shared();

// Every thread of the block has to come to the same place.
void synchronize(Site site);

// Words that a lane brings to a collective and finds there afterwards.
struct Words {
  uint32_t word[10];
};
// What a collective does, once, when all lanes of the mask have come; null for lanes outside it.
using Combine = void (*)(Words* const lanes[32]);
// Every lane that `mask` names has to come to the same place with the same mask. `orders_memory`:
// whether CUDA promises that what a lane wrote before is seen by the others after.
void collective(const char* name, unsigned mask, Words& words, Combine combine, bool orders_memory,
                Site site);

void nothing(Words* const lanes[32]);
void ballot(Words* const lanes[32]);   // word 0: a vote; then the lanes that voted for it
void match(Words* const lanes[32]);    // word 0: a value; then the lanes that have the same
void shuffle(Words* const lanes[32]);  // words 0 and 1: a value, word 2: the lane to read from
unsigned lane();

// Before an atomic operation: another thread may run first. Dies where `address` is not aligned.
void atomic(const volatile void* address, size_t bytes, Site site);

// A copy to shared memory that begins now and is made when its thread waits for it; until then there
// is noise at `to`.
void copy_later(void* to, const void* from, size_t bytes, Site site);
void copy_now();

// A kernel's mistake: prints what and where, and ends the process with 3.
[[noreturn]] void fail(Site site, const char* format, ...) __attribute__((format(printf, 2, 3)));
void require_aligned(const volatile void* address, size_t bytes, Site site);

template <class T>
T* aligned(T* address, Site site = Site::here()) {
  require_aligned(address, sizeof(T), site);
  return address;
}

// D = A B^T + C over the fragments of mma.m16n8k256 (.b1, and.popc) and mma.m16n8k32 (.s8), by the
// PTX ISA's section "Matrix Fragments". All 32 lanes have to come.
void mma_b1_and_popc(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                     const int32_t (&c)[4], Site site = Site::here());
void mma_s8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
            const int32_t (&c)[4], Site site = Site::here());

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), Index grid, Index block, size_t shared_bytes,
            Arguments&&... arguments) {
  run(grid, block, shared_bytes, [&] { kernel(static_cast<Parameters>(arguments)...); });
}

}  // namespace emulator
