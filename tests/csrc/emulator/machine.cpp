// Blocks, threads, and who runs next. The collectives are in collectives.cpp.
#include "machine.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <numeric>
#include <vector>

#include "threads.h"

namespace emulator {

Index thread_index, block_index, block_size, grid_size;
Thread* current = nullptr;

namespace {

// What a block may have on sm_90 after opting in.
constexpr size_t kSharedLimit = 227 << 10;

std::mutex one_launch;
uint64_t schedule = 0;
std::vector<std::unique_ptr<Thread>> idle;  // stacks are kept

void refuse(const char* what, size_t got, size_t most) {
  std::fprintf(stderr, "emulator: %s: %zu, at most %zu\n", what, got, most);
  std::_Exit(3);
}

void run_thread(void* argument) {
  auto* thread = static_cast<Thread*>(argument);
  races::acquire(thread->block->launch->body);
  races::acquire(thread->block->shared);
  (*thread->block->launch->body)();
  races::release(thread->block->launch);
  thread->finish();
}

std::unique_ptr<Thread> take_thread() {
  if (idle.empty()) return std::make_unique<Thread>();
  auto thread = std::move(idle.back());
  idle.pop_back();
  return thread;
}

Index unravel(size_t i, Index size) {
  return {static_cast<unsigned>(i % size.x), static_cast<unsigned>(i / size.x % size.y),
          static_cast<unsigned>(i / size.x / size.y)};
}

}  // namespace

// ---- Block ----

Block::Block(Launch& launch, Index index)
    : launch(&launch), index(index), random(launch.random()) {
  const size_t count = size_t{block_size.x} * block_size.y * block_size.z;
  warps = (count + 31) / 32;
  unfinished = count;
  for (size_t i = 0; i < count; ++i) {
    threads.push_back(take_thread());
    threads.back()->prepare(*this, unravel(i, block_size), i);
    threads.back()->fiber.prepare(run_thread, threads.back().get());
  }
  priority.resize(warps);
  std::iota(priority.begin(), priority.end(), size_t{0});
  if (launch.order == Order::kBackward) std::reverse(priority.begin(), priority.end());
  if (launch.order == Order::kShuffled) std::shuffle(priority.begin(), priority.end(), random);
  // Half of the shuffled blocks run one warp as far as it gets, half take turns.
  takes_turns = launch.order == Order::kShuffled && random() % 2;
}

Launch::~Launch() {
  races::acquire(this);
  for (void* memory : shared) std::free(memory);
}

Block::~Block() {
  std::move(threads.begin(), threads.end(), std::back_inserter(idle));
}

void Block::make_shared(size_t bytes) {
  if (posix_memalign(&shared, 16, bytes) != 0) std::abort();
  launch->shared.push_back(shared);
  auto* byte = static_cast<unsigned char*>(shared);
  std::generate_n(byte, bytes, [&] { return static_cast<unsigned char>(random()); });
  races::release(shared);
}

// One warp, each of its threads that can run up to its next meeting; false where none can.
bool Block::step() {
  std::vector<size_t> able;
  for (const size_t warp : priority) {
    for (Thread* lane : lanes(warp)) {
      if (lane && lane->state == Thread::State::kReady) {
        able.push_back(warp);
        break;
      }
    }
    if (!able.empty() && !takes_turns) break;
  }
  if (able.empty()) return false;
  auto order = lanes(able[random() % able.size()]);
  if (launch->order == Order::kBackward) std::reverse(order.begin(), order.end());
  if (launch->order == Order::kShuffled) std::shuffle(order.begin(), order.end(), random);
  for (Thread* lane : order) {
    if (lane && lane->state == Thread::State::kReady) lane->run();
  }
  return true;
}

void Block::report_deadlock() const {
  for (const auto& thread : threads) {
    if (thread->state == Thread::State::kWaiting) {
      current = thread.get();
      fail(thread->site, "%s with mask %08x waits for ever", thread->waits_in.data(), thread->mask);
    }
  }
  std::abort();
}

std::array<Thread*, 32> Block::lanes(size_t warp) const {
  std::array<Thread*, 32> found{};
  for (size_t i = 32 * warp; i < std::min(threads.size(), 32 * warp + 32); ++i) {
    found[i % 32] = threads[i].get();
  }
  return found;
}

// ---- Thread ----

void Thread::prepare(Block& in, Index at, size_t number) {
  block = &in;
  index = at;
  warp = number / 32;
  lane = static_cast<unsigned>(number % 32);
  state = State::kReady;
}

void Thread::run() {
  current = this;
  thread_index = index;
  block_index = block->index;
  fiber.enter();
  current = nullptr;
}

void Thread::give_way() { fiber.leave(); }

void Thread::wait(std::string_view in, unsigned for_mask, Site at) {
  waits_in = in;
  mask = for_mask;
  site = at;
  state = State::kWaiting;
  fiber.leave();
}

void Thread::finish() {
  if (!copies.empty()) fail(copies[0].site, "a copy that nobody waited for");
  state = State::kDone;
  --block->unfinished;
  for (const auto& other : block->threads) {
    if (other->state != State::kWaiting) continue;
    const bool named = other->warp == warp && (other->mask >> lane & 1);
    if (other->waits_in == kBarrier || named) {
      current = other.get();
      fail(other->site, "%s with mask %08x waits for lane %u of warp %zu, which has returned",
           other->waits_in.data(), other->mask, lane, warp);
    }
  }
}

// ---- Interface ----

void set_schedule(uint64_t seed) { schedule = seed; }

void* dynamic_shared() { return current->block->shared; }

void copy_later(void* to, const void* from, size_t bytes, Site site) {
  auto* byte = static_cast<unsigned char*>(to);
  std::generate_n(byte, bytes, [] { return static_cast<unsigned char>(current->block->random()); });
  current->copies.push_back({to, from, bytes, site});
}

void copy_now() {
  for (const Copy& copy : current->copies) std::memcpy(copy.to, copy.from, copy.bytes);
  current->copies.clear();
}

void atomic(const volatile void* address, size_t bytes, Site site) {
  require_aligned(address, bytes, site);
  Block& block = *current->block;
  if (block.launch->order == Order::kShuffled && block.random() % 4 == 0) current->give_way();
}

void fail(Site site, const char* format, ...) {
  std::fprintf(stderr, "emulator: ");
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  va_end(arguments);
  std::fprintf(stderr, "\n  at %s:%d", site.file, site.line);
  if (current) {
    const Index b = current->block->index, t = current->index;
    std::fprintf(stderr, ", block (%u, %u, %u), thread (%u, %u, %u)", b.x, b.y, b.z, t.x, t.y, t.z);
  }
  std::fprintf(stderr, ", schedule %llu\n", static_cast<unsigned long long>(schedule));
  std::_Exit(3);
}

void require_aligned(const volatile void* address, size_t bytes, Site site) {
  const auto value = reinterpret_cast<uintptr_t>(address);
  if (value % bytes) fail(site, "address %#zx is no multiple of %zu", size_t{value}, bytes);
}

namespace {

void check_sizes(Index grid, Index block) {
  const auto require = [](const char* what, size_t value, size_t most) {
    if (value == 0 || value > most) refuse(what, value, most);
  };
  require("blocks in x", grid.x, (1u << 31) - 1);
  require("blocks in y", grid.y, 65535);
  require("blocks in z", grid.z, 65535);
  require("threads in x", block.x, 1024);
  require("threads in y", block.y, 1024);
  require("threads in z", block.z, 64);
  require("threads of a block", size_t{block.x} * block.y * block.z, 1024);
}

std::vector<size_t> block_order(const Launch& launch, size_t count) {
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  std::mt19937_64 random(launch.seed);
  if (launch.order == Order::kBackward) std::reverse(order.begin(), order.end());
  if (launch.order == Order::kShuffled) std::shuffle(order.begin(), order.end(), random);
  return order;
}

}  // namespace

void run(Index grid, Index block, size_t shared_bytes, const std::function<void()>& body) {
  check_sizes(grid, block);
  if (shared_bytes > kSharedLimit) refuse("bytes of shared memory", shared_bytes, kSharedLimit);
  const std::lock_guard<std::mutex> guard(one_launch);
  grid_size = grid;
  block_size = block;
  Launch launch(schedule, &body);
  races::release(&body);
  const auto order = block_order(launch, size_t{grid.x} * grid.y * grid.z);
  const size_t together = launch.order == Order::kShuffled ? 1 + launch.random() % 3 : 1;
  std::vector<std::unique_ptr<Block>> running;
  for (size_t next = 0; next < order.size() || !running.empty();) {
    while (next < order.size() && running.size() < together) {
      running.push_back(std::make_unique<Block>(launch, unravel(order[next++], grid)));
      running.back()->make_shared(shared_bytes);
    }
    const size_t chosen = launch.random() % running.size();
    if (!running[chosen]->step()) running[chosen]->report_deadlock();
    if (running[chosen]->unfinished == 0) {
      running.erase(running.begin() + static_cast<std::ptrdiff_t>(chosen));
    }
  }
}

}  // namespace emulator
