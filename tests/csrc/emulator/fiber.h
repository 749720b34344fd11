// A stack of its own that runs a function and can be left and entered again.
#pragma once

#include <cstddef>

namespace emulator {

class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;

  // Start anew: the next enter() calls function(argument) on the fiber's stack.
  void prepare(void (*function)(void*), void* argument);
  // From outside: run until it calls leave() or its function returns.
  void enter();
  // From inside: back to whoever entered.
  void leave();

 private:
  static void begin();
  void depart(bool for_good);

  char* mapping_;
  char* stack_;
  void* context_;  // a stack pointer, or a ucontext_t where there is no switch in assembly
  void* outside_;
  void (*function_)(void*) = nullptr;
  void* argument_ = nullptr;
  // What AddressSanitizer and ThreadSanitizer want to know of a switch.
  void* fake_stack_ = nullptr;
  const void* outside_stack_ = nullptr;
  size_t outside_size_ = 0;
  void* race_fiber_ = nullptr;
  void* race_outside_ = nullptr;
};

}  // namespace emulator
