// SEM's mask: softmax and deviation of each score map, then the product with the feature map.
#include <cmath>
#include <limits>

#include "attention/attention.h"
#include "attention/icon_step.h"

namespace semicon_fast {
namespace {

// Least number of products per thread.
constexpr int64_t kWorth = int64_t{1} << 15;

// Replaces the softmax a (cells) by the factors f of the mask.
void factors(const MaskStep& step, double squares, int64_t count, float* a) {
  const double variance = squares / static_cast<double>(count > 1 ? count - 1 : 1);
  const double rounding =
      std::numeric_limits<float>::epsilon() / static_cast<double>(step.cells);
  const float mean = 1 / static_cast<float>(step.cells);
  const bool flat = variance <= rounding * rounding;
  const float w = flat ? 0 : static_cast<float>(std::pow(variance, -0.5 * step.alpha));
  for (int64_t i = 0; i < step.cells; ++i) {
    const float f = 1 - (a[i] - mean) * w;
    a[i] = !step.clamp ? f : f < 0 ? 0 : f > 2 ? 2 : f;
  }
}

}  // namespace

void sem_mask(const MaskStep& step, const float* maps, const float* scores, const Team& team,
              float* out) {
  const AttentionKernels& kernels = *attention_kernels();
  const int64_t cells = step.cells, map = step.channels * cells;
  const Buffer shares(step.images * cells);
  std::vector<double> squares(static_cast<size_t>(step.images));
  const auto share = [&](int64_t image) {
    float* const a = shares.get() + image * cells;
    squares[static_cast<size_t>(image)] = kernels.shares(scores + image * cells, cells, a);
  };
  double all = 0;
  const int64_t worth = step.images * map / kWorth;
  const int threads = static_cast<int>(worth < 1 ? 1 : worth < team.threads ? worth : team.threads);
  Stages stages;
  stages.add(step.images, share);
  if (step.per_batch) {
    stages.add(1, [&](int64_t) {
      for (const double one : squares) all += one;
    });
  }
  stages.add(step.images, [&](int64_t image) {
    float* const a = shares.get() + image * cells;
    if (step.per_batch) {
      factors(step, all, step.images * cells, a);
    } else {
      factors(step, squares[static_cast<size_t>(image)], cells, a);
    }
    kernels.scale(a, step.channels, cells, step.channels_last, maps + image * map,
                  out + image * map);
  });
  stages.go(team, threads);
}

}  // namespace semicon_fast
