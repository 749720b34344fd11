// ICON's step, backward; the attention is recomputed. A few images are processed at a time, so that
// the data between the two stages stays in cache:
//   1. for each head of each image: the gradients of q, k and v;
//   2. for each group of channels: its gradient in each image, and its part of the weights'
//      gradient, summed over the images in a fixed order.
#include <algorithm>

#include "attention/attention.h"
#include "attention/icon_step.h"

namespace semicon_fast {
namespace {

// Floats of the gradients of q, k and v that are held between the stages (4 MiB).
constexpr int64_t kBetween = int64_t{1} << 20;

struct Backward {
  const IconWork& work;
  const float *grad, *x, *weight;
  float *d_x, *d_weight, *d_bias;
  float* between;  // (images at a time, slots, cells, padded)

  const IconStep& step() const { return work.step; }
  int64_t slots() const { return 3 * step().heads; }
  int64_t scratch() const { return (3 + work.together) * work.rows + 4 * work.square; }
  float* d_projected(int64_t place, int64_t slot) const {
    return between + (place * slots() + slot) * work.rows;
  }
  void transpose(int64_t rows, int64_t columns, const float* from, int64_t from_row, float* to,
                 int64_t to_row, const float* add = nullptr, int64_t add_row = 0) const {
    work.kernels.transpose({rows, columns, from, from_row, to, to_row, add, add_row});
  }

  // Copies the output's gradient for `heads` heads of an image to `to`, (cells, padded) each.
  void gather(int64_t image, int64_t first, int64_t heads, float* to) const {
    const float* const from = work.placed(grad, image, first);
    const int64_t d = step().tokens, cells = step().cells;
    if (!step().channels_last) {
      transpose(d, cells, from, work.placed_stride(), to, work.padded);
      return;
    }
    for (int64_t cell = 0; cell < cells; ++cell) {
      transpose(d, heads, from + cell * work.cell_stride(), step().heads, to + cell * work.padded,
                work.rows);
    }
  }

  // Stage 1: `heads` heads, from `first`, of an image, number `place` among those held at a time.
  void attention(int64_t image, int64_t place, int64_t first, int64_t heads, float* scratch) const {
    const int64_t rows = work.rows, square = work.square, padded = work.padded;
    const int64_t d = step().tokens, cells = step().cells;
    const Projected own = {scratch, scratch + rows, scratch + 2 * rows};
    float* const weights = scratch + 3 * rows;
    float* const slope = weights + square;
    float* const d_logits = slope + square;
    float* const turned = d_logits + square;
    float* const g = turned + square;
    gather(image, first, heads, g);
    for (int64_t h = 0; h < heads; ++h, first++) {
      const float* const d_out = g + h * rows;
      const auto result = [&](int64_t role) { return d_projected(place, work.slot(first, role)); };
      work.project(image, first, own);
      work.attend(own, weights, slope);
      transpose(d, d, weights, padded, turned, padded);
      work.multiply(cells, d, d_out, 1, padded, turned, result(2), nullptr, 0);
      work.multiply(d, cells, own.v, padded, 1, d_out, d_logits, nullptr, 0);
      work.kernels.logits_gradient(weights, slope, d, padded, d_logits);
      work.multiply(cells, d, own.k, 1, padded, d_logits, result(0), nullptr, 0);
      transpose(d, d, d_logits, padded, turned, padded);
      work.multiply(cells, d, own.q, 1, padded, turned, result(1), nullptr, 0);
    }
  }

  // Stage 2: the gradient of x for `groups` groups, from `first`, of an image.
  void input(int64_t image, int64_t place, int64_t first, int64_t groups, float* scratch) const {
    const int64_t rows = work.rows, padded = work.padded, cells = step().cells;
    const int64_t d = step().tokens;
    const bool last = step().residual_last;
    float* const sum = scratch;
    float* const g = scratch + 3 * rows + 4 * work.square;
    if (step().channels_last && !last) gather(image, first, groups, g);
    for (int64_t i = 0; i < groups; ++i, first++) {
      for (int64_t s = 3 * first; s < 3 * first + 3; ++s) {
        work.multiply(cells, d, d_projected(place, s), 1, padded, work.weight_rows(s), sum,
                      s == 3 * first ? nullptr : sum, padded);
      }
      float* const to = d_x + (work.own(x, image, first) - x);
      const float* const same = work.own(grad, image, first);
      if (!step().channels_last) {
        const float* const residual = last ? same : work.placed(grad, image, first);
        transpose(cells, d, sum, padded, to, cells, residual, last ? cells : work.placed_stride());
      } else {
        work.kernels.add(cells, d, sum, padded, last ? same : g + i * rows,
                         last ? work.cell_stride() : padded, to, work.cell_stride());
      }
    }
  }

  // Stage 2: adds the contribution of `images` images, from `first`, to the gradients of a group's
  // weights and biases.
  void parameters(int64_t group, int64_t first, int64_t images, float* scratch) const {
    const int64_t padded = work.padded, square = work.square;
    const int64_t d = step().tokens, cells = step().cells, slot = 3 * group;
    const float one = 1;
    float* const maps = scratch;
    float* const sums = scratch + 3 * work.rows;
    float* const shifts = sums + 3 * square;
    for (int64_t s = 0; s < 3; ++s) {
      load(d, d_weight + (slot + s) * d * d, d, sums + s * square, first == 0);
      load(1, d_bias + (slot + s) * d, d, shifts + s * padded, first == 0);
    }
    for (int64_t i = 0; i < images; ++i) {
      const float* const own = work.own(x, first + i, group);
      if (step().channels_last) {
        load(cells, own, work.cell_stride(), maps, false);
      } else {
        transpose(d, cells, own, work.token_stride(), maps, padded);
      }
      for (int64_t s = 0; s < 3; ++s) {
        const float* const d_own = d_projected(i, slot + s);
        float* const sum = sums + s * square;
        float* const shift = shifts + s * padded;
        work.multiply(d, cells, d_own, padded, 1, maps, sum, sum, padded);
        work.multiply(1, cells, &one, 0, 0, d_own, shift, shift, padded);
      }
    }
    for (int64_t s = 0; s < 3; ++s) {
      for (int64_t o = 0; o < d; ++o) {
        std::copy_n(sums + s * square + o * padded, d, d_weight + ((slot + s) * d + o) * d);
      }
      std::copy_n(shifts + s * padded, d, d_bias + (slot + s) * d);
    }
  }

  // Copies rows of `tokens` floats into rows of `padded` floats, or writes zeros.
  void load(int64_t rows, const float* from, int64_t from_row, float* to, bool zeros) const {
    for (int64_t r = 0; r < rows; ++r, to += work.padded) {
      if (zeros) {
        std::fill_n(to, step().tokens, 0.0f);
      } else {
        std::copy_n(from + r * from_row, step().tokens, to);
      }
    }
  }
};

}  // namespace

void icon_attention_backward(const IconStep& step, const float* grad, const float* x,
                             const float* weight, const float* bias, const Team& team,
                             float* d_x, float* d_weight, float* d_bias) {
  IconWork work(step, *attention_kernels(), x, weight, bias, team.threads);
  const int64_t most = std::clamp<int64_t>(kBetween / (3 * step.heads * work.rows), 1, step.images);
  const Buffer between(most * 3 * step.heads * work.rows);
  const Backward backward = {work, grad, x, weight, d_x, d_weight, d_bias, between.get()};
  Scratch scratch(backward.scratch(), work.threads);
  Stages stages;
  work.pack(stages);
  work.pack_rows(stages);
  for (int64_t first = 0; first < step.images; first += most) {
    const int64_t images = std::min(most, step.images - first);
    const int64_t tasks = work.tasks(images), groups = step.heads;
    stages.add(tasks, [=, &work, &backward, &scratch](int64_t task) {
      float* const own = scratch.take();
      work.jobs(task, tasks, images, [&](int64_t place, int64_t head, int64_t heads) {
        backward.attention(first + place, place, head, heads, own);
      });
      scratch.give(own);
    });
    stages.add(groups + tasks, [=, &work, &backward, &scratch](int64_t task) {
      float* const own = scratch.take();
      if (task < groups) {
        backward.parameters(task, first, images, own);
      } else {
        work.jobs(task - groups, tasks, images, [&](int64_t place, int64_t group, int64_t count) {
          backward.input(first + place, place, group, count, own);
        });
      }
      scratch.give(own);
    });
  }
  stages.go(team, work.threads);
}

}  // namespace semicon_fast
