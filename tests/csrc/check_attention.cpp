// ICON's kernels and SEM's mask against loops in double, for every instruction set that has them,
// without Python or torch: for sanitizers. Values are compared one by one, the gradients along random
// directions with differences of the loops. Prints one line for each instruction set; exits with 1 at
// the first difference. Argument: how many rounds of random shapes (default 40).
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <vector>

#include "attention/attention.h"
#include "attention/kernels.h"
#include "hamming/isa/kernels.h"
#include "common/threads.h"

namespace {

using semicon_fast::IconStep;
using Doubles = std::vector<double>;

std::mt19937_64 generator(11);

int64_t below(int64_t n) { return static_cast<int64_t>(generator() % static_cast<uint64_t>(n)); }

// Exactly their size, so that a sanitizer sees the first float beyond them.
struct Floats {
  int64_t size;
  std::unique_ptr<float[]> data;

  explicit Floats(int64_t n, float scale = 0) : size(n), data(new float[static_cast<size_t>(n)]) {
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < n; ++i) data[i] = scale * normal(generator);
  }
  float* get() const { return data.get(); }
  Doubles along(const Floats& direction, double by) const {
    Doubles moved(data.get(), data.get() + size);
    for (int64_t i = 0; i < size; ++i) moved[static_cast<size_t>(i)] += by * direction.data[i];
    return moved;
  }
};

semicon_fast::Team team(int threads) {
  return {threads, [](int count, const std::function<void()>& work) {
            semicon_fast::parallel(count, count, [&](int64_t) { work(); });
          }};
}

Doubles truth(const IconStep& s, const Doubles& x, const Doubles& weight, const Doubles& bias) {
  const int64_t d = s.tokens, channels = s.channels();
  const auto at = [&](int64_t image, int64_t channel, int64_t cell) {
    const int64_t inner = s.channels_last ? cell * channels + channel : channel * s.cells + cell;
    return static_cast<size_t>(image * s.map() + inner);
  };
  Doubles out(x.size());
  for (int64_t image = 0; image < s.images; ++image) {
    for (int64_t h = 0; h < s.heads; ++h) {
      std::vector<Doubles> projected(3, Doubles(static_cast<size_t>(d * s.cells)));
      for (int64_t role = 0; role < 3; ++role) {
        const int64_t slot = s.stacked ? role * s.heads + h : 3 * h + role;
        for (int64_t o = 0; o < d; ++o) {
          for (int64_t p = 0; p < s.cells; ++p) {
            double sum = bias[static_cast<size_t>(slot * d + o)];
            for (int64_t c = 0; c < d; ++c) {
              sum += weight[static_cast<size_t>((slot * d + o) * d + c)] *
                     x[at(image, slot / 3 * d + c, p)];
            }
            projected[static_cast<size_t>(role)][static_cast<size_t>(o * s.cells + p)] = sum;
          }
        }
      }
      for (int64_t i = 0; i < d; ++i) {
        Doubles weights(static_cast<size_t>(d));
        double total = 0;
        for (int64_t j = 0; j < d; ++j) {
          double a = 0;
          for (int64_t p = 0; p < s.cells; ++p) {
            a += projected[0][static_cast<size_t>(i * s.cells + p)] *
                 projected[1][static_cast<size_t>(j * s.cells + p)];
          }
          a /= std::sqrt(static_cast<double>(d));
          const double root = std::sqrt(std::abs(a) + static_cast<double>(s.delta));
          weights[static_cast<size_t>(j)] = std::exp(a > 0 ? root : a < 0 ? -root : 0);
          total += weights[static_cast<size_t>(j)];
        }
        for (int64_t p = 0; p < s.cells; ++p) {
          double sum = 0;
          for (int64_t j = 0; j < d; ++j) {
            sum += weights[static_cast<size_t>(j)] / total *
                   projected[2][static_cast<size_t>(j * s.cells + p)];
          }
          const size_t place = at(image, i * s.heads + h, p);
          out[place] = sum + x[s.residual_last ? place : at(image, h * d + i, p)];
        }
      }
    }
  }
  return out;
}

bool close(double a, double b, double scale) { return std::abs(a - b) <= 2e-4 * (scale + 1); }

double dot(const Doubles& a, const Floats& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b.data[i];
  return sum;
}

bool round_is_right() {
  const int64_t tokens = 8 + below(33), heads = 1 + below(11), side = 1 + below(60);
  const IconStep s = {1 + below(4), heads, tokens, side, below(2) == 1, below(2) == 1,
                      below(2) == 1, 0.01f};
  const int64_t slots = 3 * s.channels();
  const Floats x(s.images * s.map(), 1), grad(x.size, 1), bias(slots, 1);
  const Floats weight(slots * tokens, 1 / std::sqrt(static_cast<float>(tokens)));
  const Floats out(x.size), d_x(x.size), d_weight(weight.size), d_bias(slots);
  const Floats again(x.size);
  const int threads = static_cast<int>(1 + below(5));
  icon_attention(s, x.get(), weight.get(), bias.get(), team(threads), out.get());
  icon_attention(s, x.get(), weight.get(), bias.get(), team(1), again.get());
  icon_attention_backward(s, grad.get(), x.get(), weight.get(), bias.get(), team(threads),
                          d_x.get(), d_weight.get(), d_bias.get());
  const Floats to_x(x.size, 1), to_weight(weight.size, 1), to_bias(slots, 1);
  const auto moved = [&](double by) {
    return truth(s, x.along(to_x, by), weight.along(to_weight, by), bias.along(to_bias, by));
  };
  const Doubles exact = moved(0);
  for (int64_t i = 0; i < x.size; ++i) {
    const double value = exact[static_cast<size_t>(i)];
    if (!close(out.data[i], value, std::abs(value)) || out.data[i] != again.data[i]) {
      std::printf("value %lld: %g, not %g\n", static_cast<long long>(i), out.data[i], value);
      return false;
    }
  }
  constexpr double kBy = 1e-7;
  const double expected = (dot(moved(kBy), grad) - dot(moved(-kBy), grad)) / (2 * kBy);
  const double own = dot(d_x.along(d_x, 0), to_x) + dot(d_weight.along(d_weight, 0), to_weight) +
                     dot(d_bias.along(d_bias, 0), to_bias);
  const double scale = std::sqrt(static_cast<double>(x.size) * static_cast<double>(tokens));
  if (!close(own, expected, std::abs(expected) + scale)) {
    std::printf("gradient: %g, not %g\n", own, expected);
    return false;
  }
  return true;
}

bool mask_is_right() {
  const semicon_fast::MaskStep s = {1 + below(5),    1 + below(40),   1 + below(300), below(2) == 1,
                                    below(2) == 1, below(2) == 1, 0.3f};
  const Floats maps(s.images * s.channels * s.cells, 1), scores(s.images * s.cells, 2);
  const Floats out(maps.size);
  sem_mask(s, maps.get(), scores.get(), team(static_cast<int>(1 + below(4))), out.get());
  const size_t images = static_cast<size_t>(s.images);
  Doubles a(static_cast<size_t>(scores.size)), squares(images);
  double all = 0;
  for (int64_t i = 0; i < scores.size; ++i) a[static_cast<size_t>(i)] = std::exp(scores.data[i]);
  for (size_t image = 0; image < images; ++image) {
    double* const own = a.data() + image * static_cast<size_t>(s.cells);
    double sum = 0;
    for (int64_t i = 0; i < s.cells; ++i) sum += own[i];
    for (int64_t i = 0; i < s.cells; ++i) {
      own[i] = own[i] / sum - 1.0 / static_cast<double>(s.cells);
      squares[image] += own[i] * own[i];
    }
    all += squares[image];
  }
  for (int64_t i = 0; i < maps.size; ++i) {
    const int64_t image = i / (s.channels * s.cells), inner = i % (s.channels * s.cells);
    const int64_t cell = s.channels_last ? inner / s.channels : inner % s.cells;
    const int64_t count = s.per_batch ? s.images * s.cells : s.cells;
    const double sum = s.per_batch ? all : squares[static_cast<size_t>(image)];
    const double deviation = std::sqrt(sum / static_cast<double>(std::max<int64_t>(count - 1, 1)));
    double f = 1;
    if (s.cells > 1) f -= a[static_cast<size_t>(image * s.cells + cell)] / std::pow(deviation, 0.3);
    if (s.clamp) f = std::clamp(f, 0.0, 2.0);
    const double value = f * maps.data[i];
    if (!close(out.data[i], value, std::abs(value))) {
      std::printf("mask %lld: %g, not %g\n", static_cast<long long>(i), out.data[i], value);
      return false;
    }
  }
  return true;
}

}  // namespace

int main(int count, char** arguments) {
  const int rounds = count > 1 ? std::atoi(arguments[1]) : 40;
  const semicon_fast::Isa* found[8];
  const int isas = semicon_fast::available_isas(found, 8);
  for (int i = 0; i < isas; ++i) {
    semicon_fast::set_isa(found[i]->name);
    if (!semicon_fast::attention_available()) continue;
    for (int round = 0; round < rounds; ++round) {
      if (round_is_right() && mask_is_right()) continue;
      std::printf("%s, round %d\n", found[i]->name, round);
      return 1;
    }
    std::printf("%s: %d rounds\n", found[i]->name, rounds);
  }
  return 0;
}
