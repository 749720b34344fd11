// `launch` of csrc/cuda/device.cuh over a record of the CUDA runtime: from several threads, on
// several devices, with little and much shared memory. Exits with 1 at the first thing that is wrong.
#include <cstdio>
#include <cstdlib>
#include <map>
#include <thread>
#include <vector>

#include "device.cuh"

namespace {

constexpr int kEvery = 48 << 10;            // what every kernel may have
constexpr int kMost[] = {232448, 166912};   // of an H100 and of an A100

// One call at a time, as in the driver; between two calls any thread may run.
struct Runtime {
  std::mutex mutex;
  std::map<std::pair<const void*, int>, int> limits;  // of a kernel on a device
  std::map<std::pair<const void*, int>, int> raises;
  std::vector<int64_t> received;
  cudaError_t last = cudaSuccess;
  int launches = 0;
} runtime;
thread_local int current = 0;

void expect(bool right, const char* what) {
  if (right) return;
  std::printf("wrong: %s\n", what);
  std::exit(1);
}

cudaError_t answer(cudaError_t error) {
  if (error != cudaSuccess) runtime.last = error;
  return error;
}

void first(const int64_t* values, int count) { (void)values, (void)count; }
void second(unsigned value) { (void)value; }

void on_device(int device, int64_t bytes) {
  current = device;
  semicon_fast::cuda::launch(first, 1, 32, bytes, nullptr, nullptr, 7);
}

// The launches of searches with k = 100 and k = 1000, from two threads, again and again.
void from_threads() {
  std::vector<std::thread> threads;
  for (const int64_t bytes : {65552, 131088}) {
    threads.emplace_back([bytes] {
      try {
        for (int i = 0; i < 200; ++i) {
          on_device(0, bytes);
          std::this_thread::yield();
        }
      } catch (const std::runtime_error& error) {
        expect(false, error.what());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  expect(runtime.launches == 400, "not every launch arrived");
  expect(runtime.raises.size() == 1, "another limit was changed");
  expect(runtime.raises.begin()->second == 1, "a limit is raised more than once");
  expect(runtime.limits.begin()->second == kMost[0], "a limit is not the device's largest");
}

void on_another_device() {
  on_device(1, 150000);
  on_device(1, 50000);
  expect(runtime.raises.size() == 2, "a second device has a limit of its own");
  expect(runtime.limits.rbegin()->second == kMost[1], "the second device has its own largest");
}

void with_little() {
  const size_t before = runtime.raises.size();
  semicon_fast::cuda::launch(second, 1, 32, kEvery, nullptr, 9);
  expect(runtime.raises.size() == before, "48 KiB need no permission");
}

void too_much() {
  bool thrown = false;
  try {
    on_device(0, kMost[0] + 1);
  } catch (const std::runtime_error&) {
    thrown = true;
  }
  expect(thrown, "an error is lost");
  expect(runtime.last == cudaSuccess, "an error is left for whoever asks next");
}

void arguments_are_converted() {
  expect(runtime.received.size() == 2, "not the arguments of the kernel");
  expect(runtime.received[0] == 0 && runtime.received[1] == 7, "other arguments");
}

}  // namespace

cudaError_t cudaGetDevice(int* device) { return *device = current, cudaSuccess; }

cudaError_t cudaGetLastError() {
  const std::lock_guard<std::mutex> lock(runtime.mutex);
  return std::exchange(runtime.last, cudaSuccess);
}

const char* cudaGetErrorString(cudaError_t) { return "invalid argument"; }

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int device) {
  return *value = kMost[device], cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute, int value) {
  {
    const std::lock_guard<std::mutex> lock(runtime.mutex);
    if (value > kMost[current]) return answer(cudaErrorInvalidValue);
    runtime.limits[{kernel, current}] = value;
    ++runtime.raises[{kernel, current}];
  }
  std::this_thread::yield();
  return cudaSuccess;
}

cudaError_t cudaLaunchKernel(const void* kernel, dim3, dim3, void** arguments, size_t shared_bytes,
                             cudaStream_t) {
  const std::lock_guard<std::mutex> lock(runtime.mutex);
  const auto found = runtime.limits.find({kernel, current});
  const int limit = found == runtime.limits.end() ? kEvery : found->second;
  if (shared_bytes > static_cast<size_t>(limit)) return answer(cudaErrorInvalidValue);
  ++runtime.launches;
  if (kernel == reinterpret_cast<const void*>(&first)) {
    runtime.received = {reinterpret_cast<int64_t>(*static_cast<const int64_t**>(arguments[0])),
                        *static_cast<int*>(arguments[1])};
  }
  return cudaSuccess;
}

int main() {
  from_threads();
  on_another_device();
  with_little();
  too_much();
  arguments_are_converted();
  std::puts("launches are right");
}
