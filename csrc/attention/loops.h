// The functions of kernels.h as templates over a register type `Simd`. Included between the pragmas
// of target.h, in an unnamed namespace.

using Vec = Simd::Vec;
constexpr int64_t kWidth = Simd::kWidth;

// One tile of a product. The sums over `depth` start from zero; `init` is added at the end.
template <int kRows, int kVectors>
void tile(const Product& p, int64_t row, int64_t column) {
  const float* a = p.a + row * p.a_row;
  const float* b = p.b + column;
  Vec sums[kRows][kVectors];
  for (auto& row_sums : sums) {
    for (Vec& sum : row_sums) sum = Simd::fill(0);
  }
  for (int64_t k = 0; k < p.depth; ++k, a += p.a_depth, b += p.b_depth) {
    Vec columns[kVectors];
    for (int v = 0; v < kVectors; ++v) columns[v] = Simd::load(b + v * kWidth);
    for (int r = 0; r < kRows; ++r) {
      const Vec value = Simd::fill(a[r * p.a_row]);
      for (int v = 0; v < kVectors; ++v) sums[r][v] = Simd::fma(value, columns[v], sums[r][v]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      const int64_t at = column + v * kWidth;
      Vec sum = sums[r][v];
      if (p.init) sum = Simd::add(sum, Simd::load(p.init + (row + r) * p.init_row + at));
      Simd::store(p.c + (row + r) * p.c_row + at, sum);
    }
  }
}

template <int kVectors>
void rows_of(const Product& p, int64_t row, int64_t count, int64_t column) {
  switch (count) {
    case 1: return tile<1, kVectors>(p, row, column);
    case 2: return tile<2, kVectors>(p, row, column);
    case 3: return tile<3, kVectors>(p, row, column);
    case 4: return tile<4, kVectors>(p, row, column);
    case 5: return tile<5, kVectors>(p, row, column);
    default: return tile<6, kVectors>(p, row, column);
  }
}

// Tiles differ by at most one row: a last tile of one row would be bound by the latency of its
// sums.
void short_product(const Product& p) {
  const int64_t panels = (p.vectors + Simd::kVectors - 1) / Simd::kVectors;
  const int64_t tiles = (p.rows + 5) / 6;
  for (int64_t panel = 0; panel < panels; ++panel) {
    const int64_t first = panel * p.vectors / panels;
    const int64_t vectors = (panel + 1) * p.vectors / panels - first;
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t row = t * p.rows / tiles, count = (t + 1) * p.rows / tiles - row;
      const int64_t column = first * kWidth;
      if (vectors == 1) rows_of<1>(p, row, count, column);
      if (vectors == 2) rows_of<2>(p, row, count, column);
      if constexpr (Simd::kVectors > 2) {
        if (vectors == 3) rows_of<3>(p, row, count, column);
        if (vectors == 4) rows_of<4>(p, row, count, column);
      }
    }
  }
}

// Long sums are computed in pieces, since their error grows with the longest chain of additions.
void product(const Product& p) {
  constexpr int64_t kChain = 64;
  const int64_t pieces = (p.depth + kChain - 1) / kChain;
  for (int64_t i = 0; i < pieces; ++i) {
    const int64_t first = i * p.depth / pieces;
    Product piece = p;
    piece.depth = (i + 1) * p.depth / pieces - first;
    piece.a += first * p.a_depth;
    piece.b += first * p.b_depth;
    if (i > 0) piece.init = p.c, piece.init_row = p.c_row;
    short_product(piece);
  }
}

SEMICON_FAST_INLINE void transpose_block(const Transpose& t, int64_t row, int64_t column) {
  __m256 r[8], s[8];
  for (int i = 0; i < 8; ++i) r[i] = _mm256_loadu_ps(t.from + (row + i) * t.from_row + column);
  for (int i = 0; i < 4; ++i) {
    s[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    s[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
  for (int half = 0; half < 2; ++half) {
    for (int i = 0; i < 2; ++i) {
      const __m256 a = s[4 * half + i], b = s[4 * half + i + 2];
      r[4 * half + 2 * i] = _mm256_shuffle_ps(a, b, 0x44);
      r[4 * half + 2 * i + 1] = _mm256_shuffle_ps(a, b, 0xee);
    }
  }
  for (int i = 0; i < 4; ++i) {
    s[i] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x20);
    s[i + 4] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x31);
  }
  for (int i = 0; i < 8; ++i) {
    if (t.add) s[i] = _mm256_add_ps(s[i], _mm256_loadu_ps(t.add + (column + i) * t.add_row + row));
    _mm256_storeu_ps(t.to + (column + i) * t.to_row + row, s[i]);
  }
}

void transpose(const Transpose& t) {
  const int64_t rows = t.rows / 8 * 8, columns = t.columns / 8 * 8;
  const auto single = [&](int64_t row, int64_t column) {
    const float value = t.from[row * t.from_row + column];
    t.to[column * t.to_row + row] = t.add ? value + t.add[column * t.add_row + row] : value;
  };
  for (int64_t column = 0; column < columns; column += 8) {
    for (int64_t row = 0; row < rows; row += 8) transpose_block(t, row, column);
    for (int64_t row = rows; row < t.rows; ++row) {
      for (int64_t i = 0; i < 8; ++i) single(row, column + i);
    }
  }
  for (int64_t column = columns; column < t.columns; ++column) {
    for (int64_t row = 0; row < t.rows; ++row) single(row, column);
  }
}

void add(int64_t rows, int64_t columns, const float* a, int64_t a_row, const float* b,
         int64_t b_row, float* to, int64_t to_row) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) to[r * to_row + c] = a[r * a_row + c] + b[r * b_row + c];
  }
}

// e^x for x <= 0 or NaN, to about one unit in the last place: 2^n times the Taylor series of degree
// 7, whose remainder for |r| <= ln(2) / 2 is below 6e-9. Results are at least e^-87 = 1.6e-38,
// which is harmless because the values of a softmax row are divided by a sum of 1 or more.
SEMICON_FAST_INLINE Vec exponential(Vec x) {
  x = Simd::max(Simd::fill(-87.0f), x);  // returns the second operand if one is NaN
  const Vec n = Simd::round(Simd::mul(x, Simd::fill(1.44269504f)));
  // ln(2) in two parts, the first short enough for its product with n to be exact.
  Vec r = Simd::fma(n, Simd::fill(-0.693359375f), x);
  r = Simd::fma(n, Simd::fill(2.12194440e-4f), r);
  Vec series = Simd::fill(1.0f / 5040);
  series = Simd::fma(series, r, Simd::fill(1.0f / 720));
  series = Simd::fma(series, r, Simd::fill(1.0f / 120));
  series = Simd::fma(series, r, Simd::fill(1.0f / 24));
  series = Simd::fma(series, r, Simd::fill(1.0f / 6));
  series = Simd::fma(series, r, Simd::fill(0.5f));
  const Vec tail = Simd::fma(Simd::mul(r, r), series, r);
  return Simd::times_power_of_two(Simd::add(tail, Simd::fill(1.0f)), n);
}

void weights(float* logits, int64_t tokens, int64_t padded, float scale, float delta,
             float* slope) {
  const Vec scales = Simd::fill(scale), deltas = Simd::fill(delta), half = Simd::fill(0.5f * scale);
  for (int64_t column = 0; column < padded; column += kWidth) {
    float* const top = logits + column;
    Vec largest = Simd::fill(-__builtin_inff());
    for (int64_t j = 0; j < tokens; ++j) {
      const Vec a = Simd::mul(Simd::load(top + j * padded), scales);
      const Vec root = Simd::sqrt(Simd::add(Simd::abs(a), deltas));
      const Vec signed_root = Simd::zero_where_zero(a, Simd::with_sign(root, a));
      if (slope) {
        const Vec slopes = Simd::zero_where_zero(a, Simd::divide(half, root));
        Simd::store(slope + j * padded + column, slopes);
      }
      largest = Simd::max(largest, signed_root);
      Simd::store(top + j * padded, signed_root);
    }
    Vec sum = Simd::fill(0);
    for (int64_t j = 0; j < tokens; ++j) {
      const Vec e = exponential(Simd::subtract(Simd::load(top + j * padded), largest));
      sum = Simd::add(sum, e);
      Simd::store(top + j * padded, e);
    }
    const Vec share = Simd::divide(Simd::fill(1), sum);
    for (int64_t j = 0; j < tokens; ++j) {
      Simd::store(top + j * padded, Simd::mul(Simd::load(top + j * padded), share));
    }
  }
}

void logits_gradient(const float* weights, const float* slope, int64_t tokens, int64_t padded,
                     float* d_weights) {
  for (int64_t column = 0; column < padded; column += kWidth) {
    Vec sum = Simd::fill(0);
    for (int64_t at = column; at < tokens * padded; at += padded) {
      sum = Simd::fma(Simd::load(weights + at), Simd::load(d_weights + at), sum);
    }
    for (int64_t at = column; at < tokens * padded; at += padded) {
      const Vec own = Simd::subtract(Simd::load(d_weights + at), sum);
      const Vec product = Simd::mul(Simd::load(weights + at), own);
      Simd::store(d_weights + at, Simd::mul(product, Simd::load(slope + at)));
    }
  }
}

// The last vector of a map is padded with -inf, which does not change the maximum; its padding is
// left out of the sum.
double shares(const float* scores, int64_t cells, float* a) {
  const int64_t whole = cells / kWidth * kWidth, rest = cells - whole;
  alignas(64) float last[kWidth], lanes[kWidth];
  for (int64_t i = 0; i < kWidth; ++i) last[i] = i < rest ? scores[whole + i] : -__builtin_inff();
  Vec largest = Simd::load(last);
  for (int64_t i = 0; i < whole; i += kWidth) largest = Simd::max(Simd::load(scores + i), largest);
  Simd::store(lanes, largest);
  float most = lanes[0];
  for (int64_t i = 1; i < kWidth; ++i) most = lanes[i] > most ? lanes[i] : most;
  double total = 0;
  Vec sum = Simd::fill(0);
  for (int64_t i = 0; i < whole; i += kWidth) {
    const Vec e = exponential(Simd::subtract(Simd::load(scores + i), Simd::fill(most)));
    sum = Simd::add(sum, e);
    Simd::store(a + i, e);
  }
  Simd::store(last, exponential(Simd::subtract(Simd::load(last), Simd::fill(most))));
  Simd::store(lanes, sum);
  for (int64_t i = 0; i < kWidth; ++i) total += lanes[i] + (i < rest ? last[i] : 0);
  for (int64_t i = 0; i < rest; ++i) a[whole + i] = last[i];
  const float share = 1 / static_cast<float>(total), mean = 1 / static_cast<float>(cells);
  double squares[8] = {};  // eight chains of additions; a single one takes four times as long
  const auto count = [&](int64_t i, double& to) {
    a[i] *= share;
    const double centred = a[i] - mean;
    to += centred * centred;
  };
  for (int64_t i = 0; i + 8 <= cells; i += 8) {
    for (int64_t j = 0; j < 8; ++j) count(i + j, squares[j]);
  }
  for (int64_t i = cells / 8 * 8; i < cells; ++i) count(i, squares[i % 8]);
  for (int64_t j = 1; j < 8; ++j) squares[0] += squares[j];
  return squares[0];
}

void scale(const float* f, int64_t channels, int64_t cells, bool last, const float* map,
           float* out) {
  const int64_t rows = last ? cells : channels, columns = last ? channels : cells;
  for (int64_t r = 0; r < rows; ++r, map += columns, out += columns) {
    const float* __restrict from = map;
    float* __restrict to = out;
    const float one = f[last ? r : 0];
    if (last) {
      for (int64_t c = 0; c < columns; ++c) to[c] = one * from[c];
    } else {
      for (int64_t c = 0; c < columns; ++c) to[c] = f[c] * from[c];
    }
  }
}

const AttentionKernels kKernels = {kWidth,  product, transpose, add, weights, logits_gradient,
                                   shares, scale};
