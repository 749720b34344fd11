// torch.ops.semicon_fast._icon_attention, its gradient and _sem_mask, which
// semicon_fast/ops/_cpu.py and _cpu_mask.py call.
// Included by ../library.cpp alone.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <optional>
#include <tuple>

#include "attention/attention.h"
#include "common/threads.h"

extern "C" __attribute__((weak)) void GOMP_parallel(void (*)(void*), void*, unsigned, unsigned);

namespace semicon_fast {
namespace {

using at::Tensor;

// Uses torch's OpenMP threads if it has any: they are still spinning after torch's last operation,
// so other threads would compete with them. The symbol is weak, so that no library has to be
// linked.
Team team() {
  const int threads = at::in_parallel_region() ? 1 : at::get_num_threads();
  return {threads, [](int count, const std::function<void()>& work) {
            if (count > 1 && GOMP_parallel) {
              const auto call = [](void* w) { (*static_cast<const std::function<void()>*>(w))(); };
              GOMP_parallel(call, const_cast<std::function<void()>*>(&work),
                            static_cast<unsigned>(count), 0);
            } else {
              parallel(count, count, [&](int64_t) { work(); });
            }
          }};
}

const float* data(const std::optional<Tensor>& t) {
  return t ? t->const_data_ptr<float>() : nullptr;
}

void check(const char* name, const Tensor& t, at::IntArrayRef shape, bool dense) {
  TORCH_CHECK_VALUE(t.device().is_cpu() && t.scalar_type() == at::kFloat && dense &&
                        t.sizes() == shape,
                    name, " must be a dense float32 ", shape,
                    " on the CPU, got ", t.scalar_type(), " ", t.sizes());
}

IconStep step_of(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias,
                 int64_t heads, double delta, bool stacked, bool residual_last) {
  TORCH_CHECK_VALUE(x.dim() == 4 && heads > 0 && x.size(1) % heads == 0 && x.numel() > 0,
                    "_icon_attention: x must be (B, C, H, W) with C divided by ", heads, ", got ",
                    x.sizes());
  const int64_t channels = x.size(1), tokens = channels / heads;
  TORCH_CHECK_VALUE(kMinTokens <= tokens && tokens <= kMaxTokens && attention_available(),
                    "_icon_attention: this CPU has no kernel for heads of ", tokens);
  const bool last = !x.is_contiguous();
  check("_icon_attention: x", x, x.sizes(),
        !last || x.is_contiguous(at::MemoryFormat::ChannelsLast));
  check("_icon_attention: weight", weight, {3 * channels, tokens, 1, 1}, weight.is_contiguous());
  if (bias) check("_icon_attention: bias", *bias, {3 * channels}, bias->is_contiguous());
  return {x.size(0), heads, tokens, x.size(2) * x.size(3), last, stacked, residual_last,
          static_cast<float>(delta)};
}

Tensor forward(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias,
               int64_t heads, double delta, bool stacked, bool residual_last) {
  const IconStep step = step_of(x, weight, bias, heads, delta, stacked, residual_last);
  Tensor out = at::empty_like(x);
  icon_attention(step, x.const_data_ptr<float>(), weight.const_data_ptr<float>(), data(bias),
                 team(), out.mutable_data_ptr<float>());
  return out;
}

std::tuple<Tensor, Tensor, Tensor> backward(const Tensor& grad, const Tensor& x,
                                            const Tensor& weight, const std::optional<Tensor>& bias,
                                            int64_t heads, double delta, bool stacked,
                                            bool residual_last) {
  const IconStep step = step_of(x, weight, bias, heads, delta, stacked, residual_last);
  const auto layout =
      step.channels_last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
  check("_icon_attention: grad", grad, x.sizes(), grad.is_contiguous(layout));
  Tensor d_x = at::empty_like(x), d_weight = at::empty_like(weight);
  Tensor d_bias = at::empty({weight.size(0)}, weight.options());
  icon_attention_backward(step, grad.const_data_ptr<float>(), x.const_data_ptr<float>(),
                          weight.const_data_ptr<float>(), data(bias), team(),
                          d_x.mutable_data_ptr<float>(), d_weight.mutable_data_ptr<float>(),
                          d_bias.mutable_data_ptr<float>());
  return {d_x, d_weight, d_bias};
}

Tensor mask(const Tensor& maps, const Tensor& score, double alpha, bool per_batch, bool clamp) {
  TORCH_CHECK_VALUE(maps.dim() == 4 && maps.numel() > 0 && attention_available(),
                    "_sem_mask: maps must be (B, C, H, W), got ", maps.sizes());
  const bool last = !maps.is_contiguous();
  check("_sem_mask: maps", maps, maps.sizes(),
        !last || maps.is_contiguous(at::MemoryFormat::ChannelsLast));
  check("_sem_mask: score", score, {maps.size(0), 1, maps.size(2), maps.size(3)},
        score.is_contiguous());
  const MaskStep step = {maps.size(0), maps.size(1), maps.size(2) * maps.size(3), last, per_batch,
                         clamp, static_cast<float>(alpha)};
  Tensor out = at::empty_like(maps);
  sem_mask(step, maps.const_data_ptr<float>(), score.const_data_ptr<float>(), team(),
           out.mutable_data_ptr<float>());
  return out;
}

}  // namespace
}  // namespace semicon_fast

#define SEMICON_FAST_ICON                                                                 \
  "Tensor x, Tensor weight, Tensor? bias, int num_heads, float delta, bool stacked, bool " \
  "residual_last) -> "

TORCH_LIBRARY_FRAGMENT(semicon_fast, m) {
  m.def("_attention_available() -> bool", &semicon_fast::attention_available);
  m.def("_icon_attention(" SEMICON_FAST_ICON "Tensor");
  m.def("_icon_attention_backward(Tensor grad, " SEMICON_FAST_ICON "(Tensor, Tensor, Tensor)");
  m.def("_sem_mask(Tensor maps, Tensor score, float alpha, bool per_batch, bool clamp) -> Tensor");
}

TORCH_LIBRARY_IMPL(semicon_fast, CPU, m) {
  m.impl("_sem_mask", &semicon_fast::mask);
  m.impl("_icon_attention", &semicon_fast::forward);
  m.impl("_icon_attention_backward", &semicon_fast::backward);
}
