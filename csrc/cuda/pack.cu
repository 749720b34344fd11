// Copies codes into padded words; fills words with a value.
#include "stages.h"

namespace semicon_fast::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads)
    pack_rows(Rows codes, int64_t every, int64_t quads, uint32_t* packed) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < quads; i += step) {
    const int64_t row = i / codes.quads;
    const uint4 quad = load_quad(codes, row * every, static_cast<int>(i % codes.quads));
    *reinterpret_cast<uint4*>(packed + 4 * i) = quad;
  }
}

__global__ void __launch_bounds__(kThreads)
    fill_words(uint32_t* words, int64_t count, uint32_t value) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += step) {
    words[i] = value;
  }
}

}  // namespace

void pack(const Context& context, const Rows& codes, int64_t every, int64_t count,
          uint32_t* packed) {
  const int64_t quads = count * codes.quads;
  launch(pack_rows, grid_for(quads, kThreads), kThreads, 0, context.stream, codes, every, quads,
         packed);
}

void fill(const Context& context, uint32_t* words, int64_t count, uint32_t value) {
  launch(fill_words, grid_for(count, kThreads), kThreads, 0, context.stream, words, count, value);
}

}  // namespace semicon_fast::cuda
