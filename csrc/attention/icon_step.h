// Shared by the forward and backward pass of ICON's step: memory, stages, and a head's projections.
//
// The data of a head is stored transposed: a row for each cell, with the head's tokens consecutive
// and padded to `padded` floats. Weights are packed the same way, so that every product has the
// form of Product in kernels.h.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "attention/attention.h"
#include "attention/kernels.h"

namespace semicon_fast {

// Uninitialised floats, aligned to a cache line.
class Buffer {
 public:
  explicit Buffer(int64_t size)
      : data_(static_cast<float*>(::operator new(static_cast<size_t>(size) * 4, kLine))) {}
  ~Buffer() { ::operator delete(data_, kLine); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  float* get() const { return data_; }

 private:
  static constexpr std::align_val_t kLine{64};
  float* data_;
};

// Scratch memory for as many tasks as run at the same time; initially zeros, so that the padding
// stays finite.
class Scratch {
 public:
  Scratch(int64_t size, int threads);
  float* take();
  void give(float* scratch);

 private:
  Buffer memory_;
  std::mutex mutex_;
  std::vector<float*> free_;
};

// Tasks in stages: the tasks of a stage begin when all tasks of earlier stages are done.
class Stages {
 public:
  // `run` must not throw: other threads would wait forever.
  void add(int64_t tasks, std::function<void(int64_t)> run);
  void go(const Team& team, int threads);

 private:
  struct Stage {
    int64_t first, end;
    std::function<void(int64_t)> run;
  };
  std::vector<Stage> stages_;
};

// Rows of (cells, padded) for a head's q, k and v.
struct Projected {
  float *q, *k, *v;
};

class IconWork {
 public:
  IconWork(const IconStep& step, const AttentionKernels& kernels, const float* x,
           const float* weight, const float* bias, int most);

  const IconStep step;
  const AttentionKernels& kernels;
  const int64_t padded;    // tokens, rounded up to whole vectors
  const int64_t rows;      // floats in (cells, padded)
  const int64_t square;    // floats in (tokens, padded)
  const int64_t together;  // heads per job; several in channels_last, whose outputs adjoin
  const int threads;

  // The slot, a block of `tokens` projected channels, that a head uses as q, k or v (role 0, 1, 2).
  int64_t slot(int64_t head, int64_t role) const {
    return step.stacked ? role * step.heads + head : 3 * head + role;
  }
  // Number of jobs per image.
  int64_t blocks() const { return (step.heads + together - 1) / together; }
  // Calls run(image, first head, heads) for the jobs of `task`, one of `tasks`, over `images`
  // images.
  template <class Run>
  void jobs(int64_t task, int64_t tasks, int64_t images, const Run& run) const {
    const int64_t all = images * blocks();
    for (int64_t job = task * all / tasks; job < (task + 1) * all / tasks; ++job) {
      const int64_t head = job % blocks() * together;
      run(job / blocks(), head, head + together < step.heads ? together : step.heads - head);
    }
  }
  int64_t tasks(int64_t images) const;

  // Add stages that pack the weights for `project`, and their rows for the backward pass.
  void pack(Stages& stages);
  void pack_rows(Stages& stages);
  // (tokens, padded): row o holds the weights of projected channel o of the slot.
  const float* weight_rows(int64_t slot) const;
  void project(int64_t image, int64_t head, const Projected& to) const;
  // Computes attention weights (tokens, padded), a row for each key, and optionally slopes.
  void attend(const Projected& head, float* weights, float* slope) const;

  // Matrix product, (rows, depth) by (depth, padded).
  void multiply(int64_t rows, int64_t depth, const float* a, int64_t a_depth, int64_t a_row,
                const float* b, float* c, const float* init, int64_t init_row) const;
  // Pointers into an image's feature map: the head's channels in the input's order (own), and token
  // 0 of the head in the output's order (placed).
  const float* own(const float* maps, int64_t image, int64_t head) const;
  const float* placed(const float* maps, int64_t image, int64_t head) const;
  int64_t token_stride() const { return step.channels_last ? 1 : step.cells; }
  int64_t cell_stride() const { return step.channels_last ? step.channels() : 1; }
  int64_t placed_stride() const { return step.heads * token_stride(); }

 private:
  const float *x_, *weight_, *bias_;
  Buffer packed_, packed_bias_;
  std::unique_ptr<Buffer> rows_;  // padded copy, used if the weights' rows are not whole vectors
};

}  // namespace semicon_fast
