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


std::mutex one_launch;
uint64_t schedule = 0;
size_t shared_limit = 227 << 10;
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
  unfinished = count;
  warps.resize((count + 31) / 32);
  for (Warp& warp : warps) warp.meetings.reserve(32);  // threads themselves allocate nothing
  for (size_t i = 0; i < count; ++i) {
    threads.push_back(take_thread());
    Thread& thread = *threads.back();
    thread.prepare(*this, unravel(i, block_size), i);
    thread.fiber.prepare(run_thread, &thread);
    Warp& warp = warps[thread.warp];
    warp.lanes[thread.lane] = &thread;
    warp.existing |= 1u << thread.lane;
    ++warp.ready;
  }
  priority.resize(warps.size());
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
  for (size_t i = 0; i < bytes; i += 8) {
    const uint64_t noise = random();
    std::memcpy(byte + i, &noise, std::min<size_t>(8, bytes - i));
  }
  races::release(shared);
}

// One warp, each of its threads that can run up to its next meeting; false where none can.
bool Block::step() {
  if (takes_turns) std::shuffle(priority.begin(), priority.end(), random);
  const auto able = std::find_if(priority.begin(), priority.end(),
                                 [&](size_t warp) { return warps[warp].ready > 0; });
  if (able == priority.end()) return false;
  auto order = warps[*able].lanes;
  if (launch->order == Order::kBackward) std::reverse(order.begin(), order.end());
  if (launch->order == Order::kShuffled) std::shuffle(order.begin(), order.end(), random);
  for (Thread* lane : order) {
    if (lane && lane->state == Thread::State::kReady) lane->run();
  }
  return true;
}

void Block::report_deadlock() const {
  for (const auto& thread : threads) {
    if (thread->state != Thread::State::kWaiting) continue;
    current = thread.get();
    for (const Meeting& meeting : warps[thread->warp].meetings) {
      fail(meeting.site, "%s with mask %08x waits for ever", meeting.name, meeting.mask);
    }
    fail(thread->site, "__syncthreads waits for ever");
  }
  std::abort();
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

void Thread::wait(Site at) {
  site = at;
  state = State::kWaiting;
  --block->warps[warp].ready;
  fiber.leave();
}

void Thread::wake() {
  if (state != State::kWaiting) return;
  state = State::kReady;
  ++block->warps[warp].ready;
}

void Thread::finish() {
  if (!copies.empty()) fail(copies[0].site, "a copy that nobody waited for");
  state = State::kDone;
  --block->unfinished;
  Warp& own = block->warps[warp];
  --own.ready;
  own.returned |= 1u << lane;
  for (const Meeting& meeting : own.meetings) {
    if (!(meeting.mask >> lane & 1)) continue;
    fail(meeting.site, "%s with mask %08x waits for lane %u of warp %zu, which has returned",
         meeting.name, meeting.mask, lane, warp);
  }
  if (block->at_barrier) {
    fail(block->barrier, "__syncthreads waits for lane %u of warp %zu, which has returned", lane,
         warp);
  }
}

// ---- Interface ----

void set_schedule(uint64_t seed) { schedule = seed; }

void set_shared_limit(size_t bytes) { shared_limit = bytes; }

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
  if (shared_bytes > shared_limit) refuse("bytes of shared memory", shared_bytes, shared_limit);
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
