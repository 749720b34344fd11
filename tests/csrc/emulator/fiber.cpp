#include "fiber.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <sys/mman.h>
#include <ucontext.h>

#if defined(EMULATOR_ADDRESSES)
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(EMULATOR_RACES)
#include <sanitizer/tsan_interface.h>
#endif

namespace emulator {

namespace {

constexpr size_t kStack = 256 << 10, kGuard = 16 << 10;
Fiber* entering;  // read once by begin()

}  // namespace

#if defined(__x86_64__)

// Keeps what the calling convention says a function keeps; no system call, unlike swapcontext.
extern "C" void semicon_fast_fiber_switch(void** from, void* to);
asm(R"(
.text
.hidden semicon_fast_fiber_switch
.globl semicon_fast_fiber_switch
.type semicon_fast_fiber_switch, @function
semicon_fast_fiber_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size semicon_fast_fiber_switch, .-semicon_fast_fiber_switch
)");

static void* fresh_context(char* stack, void (*begin)()) {
  auto top = reinterpret_cast<void**>(stack + kStack);
  *--top = nullptr;  // where begin() would return to
  *--top = reinterpret_cast<void*>(begin);
  for (int kept = 0; kept < 6; ++kept) *--top = nullptr;
  return top;
}
static void swap(void** from, void* to) { semicon_fast_fiber_switch(from, to); }
static void release(void*) {}

#else

static void* fresh_context(char* stack, void (*begin)()) {
  auto* context = new ucontext_t;
  getcontext(context);
  context->uc_stack.ss_sp = stack;
  context->uc_stack.ss_size = kStack;
  makecontext(context, begin, 0);
  return context;
}
static void swap(void** from, void* to) {
  if (!*from) *from = new ucontext_t;
  swapcontext(static_cast<ucontext_t*>(*from), static_cast<ucontext_t*>(to));
}
static void release(void* context) { delete static_cast<ucontext_t*>(context); }

#endif

Fiber::Fiber() : context_(nullptr), outside_(nullptr) {
  mapping_ = static_cast<char*>(mmap(nullptr, kGuard + kStack, PROT_READ | PROT_WRITE,
                                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (mapping_ == MAP_FAILED || mprotect(mapping_, kGuard, PROT_NONE) != 0) {
    std::perror("emulator: a stack");
    std::abort();
  }
  stack_ = mapping_ + kGuard;
#if defined(EMULATOR_RACES)
  race_fiber_ = __tsan_create_fiber(0);
#endif
}

Fiber::~Fiber() {
#if defined(EMULATOR_RACES)
  __tsan_destroy_fiber(race_fiber_);
#endif
  release(context_);
  release(outside_);
  munmap(mapping_, kGuard + kStack);
}

void Fiber::prepare(void (*function)(void*), void* argument) {
  function_ = function;
  argument_ = argument;
  release(context_);
  context_ = fresh_context(stack_, &Fiber::begin);
}

void Fiber::enter() {
  entering = this;
#if defined(EMULATOR_ADDRESSES)
  void* fake;
  __sanitizer_start_switch_fiber(&fake, stack_, kStack);
#endif
#if defined(EMULATOR_RACES)
  race_outside_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(race_fiber_, __tsan_switch_to_fiber_no_sync);
#endif
  swap(&outside_, context_);
#if defined(EMULATOR_ADDRESSES)
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

void Fiber::depart([[maybe_unused]] bool for_good) {
#if defined(EMULATOR_ADDRESSES)
  __sanitizer_start_switch_fiber(for_good ? nullptr : &fake_stack_, outside_stack_, outside_size_);
#endif
#if defined(EMULATOR_RACES)
  __tsan_switch_to_fiber(race_outside_, __tsan_switch_to_fiber_no_sync);
#endif
  swap(&context_, outside_);
#if defined(EMULATOR_ADDRESSES)
  __sanitizer_finish_switch_fiber(fake_stack_, &outside_stack_, &outside_size_);
#endif
}

void Fiber::leave() { depart(false); }

void Fiber::begin() {
  Fiber* self = entering;
#if defined(EMULATOR_ADDRESSES)
  __sanitizer_finish_switch_fiber(nullptr, &self->outside_stack_, &self->outside_size_);
#endif
  self->function_(self->argument_);
  self->depart(true);
  std::abort();
}

}  // namespace emulator
