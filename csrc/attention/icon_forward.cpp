// ICON's step, forward: one head of one image at a time, from its channels to the output.
#include "attention/attention.h"

#include "attention/icon_step.h"

namespace semicon_fast {
namespace {

struct Forward {
  const IconWork& work;
  const float* x;
  float* out;

  int64_t scratch() const {
    return 3 * work.rows + work.square + work.together * work.rows;
  }

  // Computes heads first to first + heads - 1 of one image.
  void run(int64_t image, int64_t first, int64_t heads, float* scratch) const {
    const int64_t rows = work.rows, padded = work.padded, d = work.step.tokens;
    const Projected to = {scratch, scratch + rows, scratch + 2 * rows};
    float* const weights = scratch + 3 * rows;
    float* const attended = weights + work.square;
    for (int64_t h = 0; h < heads; ++h) {
      work.project(image, first + h, to);
      work.attend(to, weights, nullptr);
      work.multiply(work.step.cells, d, to.v, 1, padded, weights, attended + h * rows, nullptr, 0);
    }
    if (work.step.channels_last) {
      write_side_by_side(image, first, heads, attended);
    } else {
      write_rows(image, first, attended);
    }
  }

  // Writes one head to contiguous (NCHW) output: the cells of a token are consecutive.
  void write_rows(int64_t image, int64_t head, const float* attended) const {
    const bool last = work.step.residual_last;
    const float* const residual = last ? work.placed(x, image, head) : work.own(x, image, head);
    float* const to = out + (work.placed(x, image, head) - x);
    work.kernels.transpose({work.step.cells, work.step.tokens, attended, work.padded, to,
                            work.placed_stride(), residual,
                            last ? work.placed_stride() : work.token_stride()});
  }

  // Writes heads to channels_last output: the channels of a cell are consecutive, and among them
  // those with the same token number in their heads.
  void write_side_by_side(int64_t image, int64_t first, int64_t heads, float* attended) const {
    const int64_t rows = work.rows, d = work.step.tokens, cells = work.step.cells;
    for (int64_t h = 0; h < heads && !work.step.residual_last; ++h) {
      float* const head = attended + h * rows;
      work.kernels.add(cells, d, head, work.padded, work.own(x, image, first + h),
                       work.cell_stride(), head, work.padded);
    }
    const float* const from = work.placed(x, image, first);
    for (int64_t cell = 0; cell < cells; ++cell) {
      const float* const same = from + cell * work.cell_stride();
      work.kernels.transpose({heads, d, attended + cell * work.padded, rows, out + (same - x),
                              work.step.heads, work.step.residual_last ? same : nullptr,
                              work.step.heads});
    }
  }
};

}  // namespace

void icon_attention(const IconStep& step, const float* x, const float* weight, const float* bias,
                    const Team& team, float* out) {
  IconWork work(step, *attention_kernels(), x, weight, bias, team.threads);
  const Forward forward = {work, x, out};
  Scratch scratch(forward.scratch(), work.threads);
  Stages stages;
  work.pack(stages);
  const int64_t tasks = work.tasks(step.images);
  stages.add(tasks, [&](int64_t task) {
    float* const own = scratch.take();
    work.jobs(task, tasks, step.images, [&](int64_t image, int64_t head, int64_t heads) {
      forward.run(image, head, heads, own);
    });
    scratch.give(own);
  });
  stages.go(team, work.threads);
}

}  // namespace semicon_fast
