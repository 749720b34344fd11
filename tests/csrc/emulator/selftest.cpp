// The emulator held to what it promises: `selftest NAME SEED` runs one small kernel. What is right
// exits with 0; a kernel with a mistake exits with 1 where its answer shows it, with 3 where the
// emulator itself names it.
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "device.cuh"

using namespace semicon_fast::cuda;

namespace {

constexpr int kThreads = 96;
constexpr unsigned kLow = 0xffff;  // the first 16 lanes

template <bool barrier>
void reversed(int* out) {
  auto* memory = reinterpret_cast<int*>(shared_memory());
  const int i = static_cast<int>(threadIdx.x);
  memory[i] = i;
  if (barrier) __syncthreads();
  out[i] = memory[kThreads - 1 - i];
}

void barriers_apart(int*) {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

void returns_before_barrier(int*) {
  if (threadIdx.x == 40) return;
  __syncthreads();
}

void returns_before_vote(int*) {
  if (threadIdx.x == 40) return;
  __ballot_sync(kAll, 1);
}

void votes_apart(int*) {
  if (threadIdx.x % 2) {
    __ballot_sync(kAll, 1);
  } else {
    __ballot_sync(kAll, 1);
  }
}

void foreign_mask(int*) {
  if (threadIdx.x % 32 >= 16) __ballot_sync(kLow, 1);
}

void lane_missing(int*) {  // lanes 0 to 15 wait for the others, which wait for the whole block
  if (threadIdx.x % 32 < 16) __syncwarp();
  __syncthreads();
}

void outside_mask(int* out) {
  if (threadIdx.x % 32 < 16) out[threadIdx.x] = __shfl_sync(kLow, 1, 20);
}

void unaligned(int* out) {
  out[0] = static_cast<int>(load<uint2>(shared_memory() + 4).x);
}

void copy(int* out, bool wait) {
  if (blockIdx.x) return;
  auto* memory = reinterpret_cast<int*>(shared_memory());
  const int i = static_cast<int>(threadIdx.x);
  copy_async<unsigned>(memory + i, out + i);
  if (wait) copy_async_wait();
  __syncthreads();
  out[i] = memory[kThreads - 1 - i];
  if (!wait) copy_async_wait();
}
void copied(int* out) { copy(out, true); }
void copied_too_early(int* out) { copy(out, false); }
void copy_forgotten(int* out) { copy_async<unsigned>(shared_memory() + 4 * threadIdx.x, out); }

void beyond_shared(int*) { shared_memory()[4 * kThreads] = 1; }
void beyond_global(int* out) { out[kThreads] = 1; }

void collectives(int* out) {
  const int i = static_cast<int>(threadIdx.x), lane = i % 32;
  bool right = __ballot_sync(kAll, lane % 3 == 0) == 0x49249249u;
  right &= match(static_cast<unsigned>(lane / 8)) == 0xffu << (lane / 8 * 8);
  right &= __shfl_sync(kAll, lane, 7) == 7;
  right &= __shfl_up_sync(kAll, lane, 2) == (lane < 2 ? lane : lane - 2);
  right &= __shfl_xor_sync(kAll, lane, 5) == (lane ^ 5);
  out[i] = right ? kThreads - 1 - i : -1;
}

using Kernel = void (*)(int*);
const std::map<std::string, Kernel> kKernels = {
    {"barrier", reversed<true>},
    {"collectives", collectives},
    {"copied", copied},
    {"missing barrier", reversed<false>},
    {"copied too early", copied_too_early},
    {"barriers apart", barriers_apart},
    {"returns before barrier", returns_before_barrier},
    {"returns before vote", returns_before_vote},
    {"votes apart", votes_apart},
    {"foreign mask", foreign_mask},
    {"lane missing", lane_missing},
    {"outside mask", outside_mask},
    {"unaligned", unaligned},
    {"copy forgotten", copy_forgotten},
    {"beyond shared", beyond_shared},
    {"beyond global", beyond_global},
};

// The fragments element by element, by the formulas of the PTX ISA ("Matrix Fragments for
// mma.m16n8k256" and "... mma.m16n8k32"): element i of a register list is `bits` wide.
struct Place {
  int row, column;
};
Place place_a(int lane, int i, int bits) {
  const int per = 32 / bits, part = i / per;
  return {lane / 4 + (part % 2 ? 8 : 0), lane % 4 * per + i % per + (part / 2 ? 4 * per : 0)};
}
Place place_b(int lane, int i, int bits) {  // row: along the inner dimension
  const int per = 32 / bits;
  return {lane % 4 * per + i % per + (i / per ? 4 * per : 0), lane / 4};
}
Place place_c(int lane, int i) { return {lane / 4 + (i < 2 ? 0 : 8), lane % 4 * 2 + i % 2}; }

template <int bits>
void multiply(const uint32_t* a, const uint32_t* b, const int* c, int* d) {
  const unsigned lane = threadIdx.x;
  int result[4];
  const int sum[4] = {c[4 * lane], c[4 * lane + 1], c[4 * lane + 2], c[4 * lane + 3]};
  const uint4 left = load<uint4>(a + 4 * lane);
  const uint2 right = load<uint2>(b + 2 * lane);
  bits == 1 ? mma_b1(result, left, right, sum) : mma_s8(result, left, right, sum);
  for (int i = 0; i < 4; ++i) d[4 * lane + i] = result[i];
}

template <int bits>
int element(const uint32_t* words, int i) {
  const uint32_t value = words[i * bits / 32] >> (i * bits % 32);
  return bits == 1 ? static_cast<int>(value & 1) : static_cast<int8_t>(value & 0xff);
}

template <int bits>
bool product_is_right(uint64_t seed) {
  constexpr int inner = 256 / bits;
  std::mt19937 random(static_cast<unsigned>(seed));
  alignas(16) uint32_t a[128], b[64];
  int c[128], d[128];
  for (auto& word : a) word = static_cast<uint32_t>(random());
  for (auto& word : b) word = static_cast<uint32_t>(random());
  for (auto& sum : c) sum = static_cast<int>(random() % 1000) - 500;
  launch(multiply<bits>, 1, 32, 0, nullptr, +a, +b, +c, +d);
  std::vector<int> left(16 * inner), right(inner * 8);
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 128 / bits; ++i) {
      const Place p = place_a(lane, i, bits);
      left[p.row * inner + p.column] = element<bits>(a + 4 * lane, i);
    }
    for (int i = 0; i < 64 / bits; ++i) {
      const Place p = place_b(lane, i, bits);
      right[p.row * 8 + p.column] = element<bits>(b + 2 * lane, i);
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) {
      const Place p = place_c(lane, i);
      int sum = c[4 * lane + i];
      for (int k = 0; k < inner; ++k) sum += left[p.row * inner + k] * right[k * 8 + p.column];
      if (sum != d[4 * lane + i]) return false;
    }
  }
  return true;
}

bool kernel_is_right(Kernel kernel, unsigned threads, int64_t shared_bytes) {
  std::vector<int> out(kThreads);
  for (int i = 0; i < kThreads; ++i) out[static_cast<size_t>(i)] = i;
  launch(kernel, 2, threads, shared_bytes, nullptr, out.data());
  for (int i = 0; i < kThreads; ++i) {
    if (out[static_cast<size_t>(i)] != kThreads - 1 - i) return false;
  }
  return true;
}

}  // namespace

int main(int, char** argv) {
  const std::string name = argv[1];
  const uint64_t seed = std::strtoull(argv[2], nullptr, 10);
  emulator::set_schedule(seed);
  bool right = false;
  if (name == "mma b1") {
    right = product_is_right<1>(seed);
  } else if (name == "mma s8") {
    right = product_is_right<8>(seed);
  } else if (name == "too many threads") {
    right = kernel_is_right(collectives, 1056, 0);
  } else if (name == "too much shared memory") {
    right = kernel_is_right(collectives, kThreads, 228 << 10);
  } else {
    right = kernel_is_right(kKernels.at(name), kThreads, sizeof(int[kThreads]));
  }
  std::printf("%s: %s\n", name.c_str(), right ? "right" : "wrong");
  return right ? 0 : 1;
}
