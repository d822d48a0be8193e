// Fused passes over one layer: softmax of a row, and derivative times incoming gradient together
// with the bias gradient of a chunk of rows.
#pragma once
#include "math.cuh"

namespace gpubp {

// Thread `index` owns one column of one chunk of rows: it writes dz = f'(x) * dy there and leaves
// the column's sum in partial[index], so that the bias gradient is the sum of partial over chunks.
// Neighbouring threads own neighbouring columns, so memory is read and written in whole lines, and
// no atomic addition makes the order of the sum depend on the run. dz may be the same array as dy.
template <typename T, typename Backward>
GPUBP_HD void backward_chunk(const T* x, const T* y, const T* dy, T* dz, T* partial, int64 index,
                             int64 rows, int64 columns, int64 chunk, Backward backward) {
  const int64 column = index % columns;
  const int64 first = index / columns * chunk;
  const int64 end = first + chunk < rows ? first + chunk : rows;
  T sum = T(0);
  for (int64 row = first; row < end; ++row) {
    const int64 at = row * columns + column;
    const T value = backward(x[at], y[at], dy[at]);
    dz[at] = value;
    sum += value;
  }
  partial[index] = sum;
}

// Add the bias to one row of logits, in place, and write its softmax. The largest logit is taken
// away first, so that no exponential overflows.
template <typename T>
GPUBP_HD void bias_softmax_row(T* z, const T* bias, T* y, int64 columns) {
  T largest = z[0] + bias[0];
  for (int64 j = 0; j < columns; ++j) {
    z[j] += bias[j];
    largest = z[j] > largest ? z[j] : largest;
  }
  for (int64 j = 0; j < columns; ++j) y[j] = math::exp(z[j] - largest);
  T sum = T(0);
  for (int64 j = 0; j < columns; ++j) sum += y[j];
  for (int64 j = 0; j < columns; ++j) y[j] /= sum;
}

// dz = y * (dy - sum(dy * y)); dz may be the same array as dy.
template <typename T>
GPUBP_HD void softmax_backward_row(const T* y, const T* dy, T* dz, int64 columns) {
  T dot = T(0);
  for (int64 j = 0; j < columns; ++j) dot += dy[j] * y[j];
  for (int64 j = 0; j < columns; ++j) dz[j] = y[j] * (dy[j] - dot);
}

}  // namespace gpubp
