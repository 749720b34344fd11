// The emulator's own state: a launch, its blocks, their threads.
#pragma once

#include <array>
#include <memory>
#include <random>
#include <vector>

#include "machine.h"
#include "fiber.h"

#if defined(EMULATOR_RACES)
#include <sanitizer/tsan_interface.h>
#endif

namespace emulator {

// What happens before what, for ThreadSanitizer: with EMULATOR_RACES it reports two threads that touch
// the same memory with no barrier between, in whatever order this run took them. The emulator's own
// files are compiled without -fsanitize=thread: only what kernels touch counts.
namespace races {
#if defined(EMULATOR_RACES)
inline void release(const void* by) { __tsan_release(const_cast<void*>(by)); }
inline void acquire(const void* by) { __tsan_acquire(const_cast<void*>(by)); }
#else
inline void release(const void*) {}
inline void acquire(const void*) {}
#endif
}  // namespace races

enum class Order { kForward, kBackward, kShuffled };

struct Launch {
  uint64_t seed;
  Order order;
  std::mt19937_64 random;
  const std::function<void()>* body;
  std::vector<void*> shared;  // of all blocks, until the end

  Launch(uint64_t seed, const std::function<void()>* body)
      : seed(seed),
        order(seed == 0 ? Order::kForward : seed == 1 ? Order::kBackward : Order::kShuffled),
        random(seed),
        body(body) {}
  ~Launch();
};

struct Block;

// A copy to shared memory that is not made yet.
struct Copy {
  void* to;
  const void* from;
  size_t bytes;
  Site site;
};

struct Thread {
  enum class State { kReady, kWaiting, kDone };

  Fiber fiber;
  Block* block = nullptr;
  Index index{};
  size_t warp = 0;
  unsigned lane = 0;
  State state = State::kDone;
  Site site{};  // where it waits, if it does
  Words* words = nullptr;
  std::vector<Copy> copies;  // begun, not made

  void prepare(Block& block, Index index, size_t number);
  void run();
  void give_way();
  void wait(Site site);
  void wake();
  void finish();
};

// A collective that lanes have come to, but not all.
struct Meeting {
  const char* name;
  unsigned mask, arrived;
  Site site;
};

struct Warp {
  std::array<Thread*, 32> lanes{};
  // Lanes that there are, that have returned, that wait in the block's barrier.
  unsigned existing = 0, returned = 0, at_barrier = 0;
  unsigned ready = 0;  // how many can run
  std::vector<Meeting> meetings;
};

struct Block {
  Launch* launch;
  Index index;
  std::mt19937_64 random;
  std::vector<std::unique_ptr<Thread>> threads;
  std::vector<Warp> warps;
  std::vector<size_t> priority;  // warps, first those that run first
  bool takes_turns = false;
  size_t unfinished = 0, at_barrier = 0;
  Site barrier{};
  void* shared = nullptr;

  Block(Launch& launch, Index index);
  ~Block();
  void make_shared(size_t bytes);
  bool step();
  [[noreturn]] void report_deadlock() const;
};

extern Thread* current;

}  // namespace emulator
