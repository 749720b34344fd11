#include "attention/icon_step.h"

#include <algorithm>
#include <cmath>
#include <thread>

#include "hamming/isa/kernels.h"

namespace semicon_fast {
namespace {

// Least number of multiply-adds per thread; starting a thread takes some 20 us.
constexpr int64_t kWorth = int64_t{1} << 20;

// Polls of a counter before the thread yields its processor: some 10 us.
constexpr int kSpins = 1 << 14;

int useful(const IconStep& step, int threads) {
  const int64_t work = 5 * step.images * step.map() * step.tokens;
  return static_cast<int>(std::clamp<int64_t>(work / kWorth, 1, std::max(threads, 1)));
}

}  // namespace

const AttentionKernels* attention_kernels() {
#if defined(__x86_64__) || defined(_M_X64)
  const Isa* const isa = &active_isa();
  if (isa == &kAvx512 || isa == &kAvx512Vpopcnt) return attention_avx512();
  if (isa == &kAvx2) return attention_avx2();
#endif
  return nullptr;
}

bool attention_available() { return attention_kernels() != nullptr; }

Scratch::Scratch(int64_t size, int threads) : memory_(size * threads) {
  std::fill_n(memory_.get(), size * threads, 0.0f);
  for (int i = 0; i < threads; ++i) free_.push_back(memory_.get() + i * size);
}

float* Scratch::take() {
  const std::lock_guard<std::mutex> guard(mutex_);
  float* const scratch = free_.back();
  free_.pop_back();
  return scratch;
}

void Scratch::give(float* scratch) {
  const std::lock_guard<std::mutex> guard(mutex_);
  free_.push_back(scratch);
}

void Stages::add(int64_t tasks, std::function<void(int64_t)> run) {
  const int64_t first = stages_.empty() ? 0 : stages_.back().end;
  stages_.push_back({first, first + tasks, std::move(run)});
}

void Stages::go(const Team& team, int threads) {
  std::atomic<int64_t> next{0}, done{0};
  const int64_t tasks = stages_.back().end;
  // Tasks are started in order, so everything that a task waits for is already running.
  team.run(threads, [&] {
    auto stage = stages_.begin();
    for (int64_t task = next++; task < tasks; task = next++) {
      while (task >= stage->end) ++stage;
      for (int i = 0; done.load(std::memory_order_acquire) < stage->first; ++i) {
        if (i > kSpins) std::this_thread::yield();
      }
      stage->run(task - stage->first);
      done.fetch_add(1, std::memory_order_release);
    }
  });
}

IconWork::IconWork(const IconStep& s, const AttentionKernels& k, const float* x,
                   const float* weight, const float* bias, int most)
    : step(s),
      kernels(k),
      padded((s.tokens + k.width - 1) / k.width * k.width),
      rows(s.cells * padded),
      square(s.tokens * padded),
      together(s.channels_last ? 8 : 1),
      threads(useful(s, most)),
      x_(x),
      weight_(weight),
      bias_(bias),
      packed_(3 * s.heads * square),
      packed_bias_(3 * s.heads * padded) {}

int64_t IconWork::tasks(int64_t images) const {
  return std::min<int64_t>(images * blocks(), threads == 1 ? 1 : 8 * threads);
}

void IconWork::pack(Stages& stages) {
  const int64_t slots = 3 * step.heads, d = step.tokens;
  const int64_t count = std::min<int64_t>(slots, threads);
  stages.add(count, [=, this](int64_t task) {
    for (int64_t s = task * slots / count; s < (task + 1) * slots / count; ++s) {
      float* const to = packed_.get() + s * square;
      if (padded > d) std::fill_n(to, square, 0.0f);
      kernels.transpose({d, d, weight_ + s * d * d, d, to, padded, nullptr, 0});
      float* const shift = packed_bias_.get() + s * padded;
      std::fill_n(shift, padded, 0.0f);
      if (bias_) std::copy_n(bias_ + s * d, d, shift);
    }
  });
}

void IconWork::pack_rows(Stages& stages) {
  const int64_t d = step.tokens;
  if (padded == d) return;
  rows_ = std::make_unique<Buffer>(3 * step.heads * square);
  stages.add(1, [=, this](int64_t) {
    std::fill_n(rows_->get(), 3 * step.heads * square, 0.0f);
    for (int64_t row = 0; row < 3 * step.channels(); ++row) {
      std::copy_n(weight_ + row * d, d, rows_->get() + row * padded);
    }
  });
}

const float* IconWork::weight_rows(int64_t s) const {
  return rows_ ? rows_->get() + s * square : weight_ + s * step.tokens * step.tokens;
}

void IconWork::multiply(int64_t count, int64_t depth, const float* a, int64_t a_depth,
                        int64_t a_row, const float* b, float* c, const float* init,
                        int64_t init_row) const {
  kernels.product({count, padded / kernels.width, depth, a, a_depth, a_row, b, padded, c, padded,
                   init, init_row});
}

void IconWork::project(int64_t image, int64_t head, const Projected& to) const {
  float* const roles[] = {to.q, to.k, to.v};
  for (int64_t role = 0; role < 3; ++role) {
    const int64_t s = slot(head, role);
    multiply(step.cells, step.tokens, own(x_, image, s / 3), token_stride(), cell_stride(),
             packed_.get() + s * square, roles[role], packed_bias_.get() + s * padded, 0);
  }
}

void IconWork::attend(const Projected& head, float* weights, float* slope) const {
  multiply(step.tokens, step.cells, head.k, padded, 1, head.q, weights, nullptr, 0);
  const float scale = 1 / std::sqrt(static_cast<float>(step.tokens));
  kernels.weights(weights, step.tokens, padded, scale, step.delta, slope);
}

const float* IconWork::own(const float* maps, int64_t image, int64_t head) const {
  return maps + image * step.map() + head * step.tokens * token_stride();
}

const float* IconWork::placed(const float* maps, int64_t image, int64_t head) const {
  return maps + image * step.map() + head * token_stride();
}

}  // namespace semicon_fast
