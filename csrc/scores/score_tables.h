// The tables of one query of an asymmetric search: exact ones in float32, and those in whole steps
// by which the kernels find candidates.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "scores/score_kernels.h"
#include "scores/scores.h"

namespace semicon_fast {

class ScoreTables {
 public:
  ScoreTables(const float* outputs, int64_t bits, int64_t bytes)
      : groups_(2 * bytes),
        sums_(static_cast<size_t>(16 * groups_)),
        best_(static_cast<size_t>(groups_)),
        steps_(static_cast<size_t>(16 * groups_)) {
    double largest = 0;  // sum of the largest magnitude of each group
    for (int64_t g = 0; g < groups_; ++g) {
      float* const sums = &sums_[16 * g];
      for (int v = 0; v < 16; ++v) {
        for (int i = 0; i < 4; ++i) {
          const float u = 4 * g + i < bits ? outputs[4 * g + i] : 0.0f;
          const float term = v >> i & 1 ? u : -u;
          sums[v] = i == 0 ? term : sums[v] + term;
        }
      }
      const float best = *std::max_element(sums, sums + 16);
      const float worst = *std::min_element(sums, sums + 16);
      best_[g] = best;
      total_ += best;
      largest += std::max(std::abs(static_cast<double>(best)), std::abs(static_cast<double>(worst)));
      widest_ = std::max(widest_, static_cast<double>(best) - worst);
    }
    // Each addition of a score errs by at most 2^-24 of a partial sum, which is at most `largest`.
    rounding_ = static_cast<double>(groups_ + 1) * 6.1e-8 * largest;
    narrow_ = bytes <= kNarrowBytes;
    most_ = narrow_ ? 255 : std::min<double>(127, static_cast<double>(65535 / groups_));
  }

  // The score of a code: sums of the groups, added in order. Never a negative zero.
  float score(const uint8_t* code) const {
    float sum = sums_[code[0] & 15] + sums_[16 + (code[0] >> 4)];
    for (int64_t b = 1; 2 * b < groups_; ++b) {
      sum += sums_[32 * b + (code[b] & 15)];
      sum += sums_[32 * b + 16 + (code[b] >> 4)];
    }
    return sum + 0.0f;
  }

  // For a kernel that is to find all codes with a score of at least `least`.
  ScoreQuery query(float least) {
    // How far such a code can lie below the sum of the groups' best: all of it may be in one group.
    const double reach = std::max(total_ - static_cast<double>(least) + rounding_, 0.0);
    // Sums are to reach the limit, 254, in eight bits, and a single entry in 16.
    const double wanted = narrow_ ? reach / 254 : std::min(widest_, reach) / most_;
    const bool usable = wanted > 0 && reach < std::numeric_limits<double>::infinity();
    if (step_ == 0 || 1.25 * wanted < step_) fill(usable ? wanted : 1);
    // A little more than the quotient, which is rounded, as are those of the entries.
    const double limit = std::floor(reach / step_ * (1 + 1e-9)), all = narrow_ ? 255 : 65535;
    return {steps_.data(), static_cast<uint16_t>(std::min(limit, all))};
  }

 private:
  void fill(double step) {
    step_ = step;
    for (int64_t g = 0; g < groups_; ++g) {
      for (int v = 0; v < 16; ++v) {
        const double below = static_cast<double>(best_[g]) - sums_[16 * g + v];
        steps_[16 * g + v] = static_cast<uint8_t>(std::min(most_, std::floor(below / step_)));
      }
    }
  }

  int64_t groups_;
  std::vector<float> sums_;     // (groups, 16)
  std::vector<float> best_;     // (groups,): the largest of the 16
  std::vector<uint8_t> steps_;  // (groups, 16)
  double total_ = 0, widest_ = 0, rounding_ = 0, most_ = 0, step_ = 0;
  bool narrow_ = true;
};

}  // namespace semicon_fast
