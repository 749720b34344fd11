// ICON's step, forward and backward, and SEM's mask on the CPU in float32. Does not use torch. For
// the math see semicon_fast/reference/icon_attention.py.
#pragma once

#include <cstdint>
#include <functional>

namespace semicon_fast {

// Supported tokens per head: fewer leave vectors mostly empty, with more the logits of a head do
// not fit into cache.
constexpr int64_t kMinTokens = 8, kMaxTokens = 256;

struct IconStep {
  int64_t images, heads, tokens, cells;
  bool channels_last;  // maps are (images, cells, channels) instead of (images, channels, cells)
  bool stacked, residual_last;
  float delta;

  int64_t channels() const { return heads * tokens; }
  int64_t map() const { return channels() * cells; }
};

// Whether there are kernels for the instruction set in use.
bool attention_available();

// `run` calls `work` on up to `threads` threads, at least on one, and returns when all are done.
struct Team {
  int threads;
  std::function<void(int threads, const std::function<void()>& work)> run;
};

// weight (3 channels, tokens), bias (3 channels) or null. The result of an image depends neither on
// the number of threads nor on the other images.
void icon_attention(const IconStep& step, const float* x, const float* weight, const float* bias,
                    const Team& team, float* out);

// d_x like x, d_weight like weight, d_bias (3 channels); all are overwritten.
void icon_attention_backward(const IconStep& step, const float* grad, const float* x,
                             const float* weight, const float* bias, const Team& team,
                             float* d_x, float* d_weight, float* d_bias);

struct MaskStep {
  int64_t images, channels, cells;
  bool channels_last, per_batch, clamp;
  float alpha;
};

// SEM's mask (see semicon_fast/reference/sem_mask.py): out = f * maps; scores (images, cells).
void sem_mask(const MaskStep& step, const float* maps, const float* scores, const Team& team,
              float* out);

}  // namespace semicon_fast
