// The interface of an instruction set for ICON and SEM's mask: functions over float32 in cache.
#pragma once

#include <cstdint>

namespace semicon_fast {

// c[r, n] = init[r, n] + sum_k a[k, r] b[k, n], n < vectors * width. All products of ICON have this
// form: b and c are contiguous over n, the tokens of a head, and a is read one value at a time, so
// that nothing is summed across vector lanes and a may have either memory order.
struct Product {
  int64_t rows, vectors, depth;
  const float* a;
  int64_t a_depth, a_row;  // strides
  const float* b;
  int64_t b_depth;
  float* c;
  int64_t c_row;
  const float* init;  // null: zeros; may be c
  int64_t init_row;
};

// to[c, r] = from[r, c] (+ add[c, r]); strides are those of the first index.
struct Transpose {
  int64_t rows, columns;
  const float* from;
  int64_t from_row;
  float* to;
  int64_t to_row;
  const float* add;  // may be null
  int64_t add_row;
};

struct AttentionKernels {
  int64_t width;  // floats per vector
  void (*product)(const Product& product);
  void (*transpose)(const Transpose& transpose);
  // to[r, c] = a[r, c] + b[r, c]
  void (*add)(int64_t rows, int64_t columns, const float* a, int64_t a_row, const float* b,
              int64_t b_row, float* to, int64_t to_row);
  // Replaces logits (keys, queries), `padded` floats per row, by the attention weights of each
  // query; if slope is not null, also writes the derivative of the signed root of the scaled logit.
  void (*weights)(float* logits, int64_t tokens, int64_t padded, float scale, float delta,
                  float* slope);
  // Replaces d_weights by the gradient of the logits.
  void (*logits_gradient)(const float* weights, const float* slope, int64_t tokens, int64_t padded,
                          float* d_weights);
  // a = softmax of the scores of one map; returns the sum of (a - 1 / cells)^2.
  double (*shares)(const float* scores, int64_t cells, float* a);
  // out = f * map, f (cells); maps are (channels, cells), or (cells, channels) where `last`.
  void (*scale)(const float* f, int64_t channels, int64_t cells, bool last, const float* map,
                float* out);
};

// The kernels of the instruction set in use; null if it has none.
const AttentionKernels* attention_kernels();

#if defined(__x86_64__) || defined(_M_X64)
// Null if this CPU lacks an instruction that they need beyond the Hamming kernels of that name.
const AttentionKernels* attention_avx2();
const AttentionKernels* attention_avx512();
#endif

}  // namespace semicon_fast
