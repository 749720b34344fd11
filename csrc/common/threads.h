// Runs tasks on threads that live for one call: no pool to lock, and fork() is safe.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#endif

namespace semicon_fast {

// Least work (pairs times words) for which another thread is started; starting takes some 20 us.
constexpr int64_t kThreadWork = int64_t{1} << 19;

inline int useful_threads(int threads, int64_t work) {
  return static_cast<int>(std::clamp<int64_t>(work / kThreadWork, 1, std::max(threads, 1)));
}

// Moves a new thread to the i-th processor after the caller's, then restores its affinity. Linux
// may start it on the caller's own processor, where it can wait for milliseconds while others are
// idle.
inline void spread(std::thread& thread, int64_t i) {
#if defined(__linux__)
  cpu_set_t allowed, one;
  const int own = sched_getcpu();
  if (own < 0 || sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  const int64_t place = i % CPU_COUNT(&allowed);
  int cpu = own;
  for (int64_t seen = 0; seen <= place;) {
    cpu = (cpu + 1) % CPU_SETSIZE;
    seen += CPU_ISSET(cpu, &allowed) ? 1 : 0;
  }
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  pthread_setaffinity_np(thread.native_handle(), sizeof one, &one);
  pthread_setaffinity_np(thread.native_handle(), sizeof allowed, &allowed);
#else
  (void)thread, (void)i;
#endif
}

// Calls run(task) for 0 <= task < tasks, started in this order, on up to `threads` threads
// including the caller's. The first exception is rethrown here after all threads have ended.
template <class Run>
void parallel(int64_t tasks, int threads, const Run& run) {
  std::atomic<int64_t> next{0};
  std::exception_ptr error;
  std::mutex error_mutex;
  const auto work = [&]() noexcept {
    try {
      for (int64_t task = next++; task < tasks; task = next++) run(task);
    } catch (...) {
      next = tasks;
      const std::lock_guard<std::mutex> guard(error_mutex);
      if (!error) error = std::current_exception();
    }
  };
  std::vector<std::thread> others;
  const int64_t wanted = std::min<int64_t>(threads, tasks) - 1;
  others.reserve(static_cast<size_t>(std::max<int64_t>(wanted, 0)));
  for (int64_t i = 0; i < wanted; ++i) {
    try {
      others.emplace_back(work);
      spread(others.back(), i);
    } catch (const std::system_error&) {
      break;  // no more threads can be created: the existing ones do the work
    }
  }
  work();
  for (std::thread& other : others) other.join();
  if (error) std::rethrow_exception(error);
}

}  // namespace semicon_fast
