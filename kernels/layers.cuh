// Fused passes over one layer: softmax of a row, and derivative times incoming gradient together
// with the bias gradient of a chunk of rows. Arrays may be stored (S, K) narrower than they are
// computed with (T).
#pragma once
#include "lanes.cuh"
#include "storage.cuh"

namespace gpubp {

// Rows that a thread loads of its column before it stores any: their loads go on at the same time,
// which those behind a store to what may be the same array cannot.
enum { ROWS_AT_ONCE = 8 };

// Load a column from `row` on; what lies behind the chunk's end is its last row again.
template <typename T, typename S>
GPUBP_HD void load_rows(const S* column, int64 row, int64 end, int64 columns,
                        T (&loaded)[ROWS_AT_ONCE]) {
  for (int r = 0; r < ROWS_AT_ONCE; ++r)
    loaded[r] = widen<T>(column[(row + r < end ? row + r : end - 1) * columns]);
}

// Thread `index` owns one column of one chunk of rows: it writes dz = f'(x) * dy there and leaves
// the column's sum in partial[index], so that the bias gradient is the sum of partial over chunks.
// Neighbouring threads own neighbouring columns, so memory is read and written in whole lines, and
// no atomic addition makes the order of the sum depend on the run. dz may be the same array as dy.
template <typename T, typename K, typename S, typename Backward>
GPUBP_HD void backward_chunk(const K* x, const K* y, const S* dy, S* dz, T* partial, int64 index,
                             int64 rows, int64 columns, int64 chunk, Backward backward) {
  const int64 column = index % columns;
  const int64 first = index / columns * chunk;
  const int64 end = first + chunk < rows ? first + chunk : rows;
  T sum = T(0);
  for (int64 row = first; row < end; row += ROWS_AT_ONCE) {
    T of_x[ROWS_AT_ONCE], of_y[ROWS_AT_ONCE], of_dy[ROWS_AT_ONCE];
    load_rows(x + column, row, end, columns, of_x);
    load_rows(y + column, row, end, columns, of_y);
    load_rows(dy + column, row, end, columns, of_dy);
    for (int r = 0; r < ROWS_AT_ONCE; ++r) {
      if (row + r >= end) continue;
      const T value = backward(of_x[r], of_y[r], of_dy[r]);
      narrow(value, dz[(row + r) * columns + column]);
      sum += value;
    }
  }
  partial[index] = sum;
}

// The same sum of numbers that are left as they are, so that others may read them at the same time.
template <typename T, typename S>
GPUBP_HD T chunk_sum(const S* x, int64 index, int64 rows, int64 columns, int64 chunk) {
  const int64 column = index % columns;
  const int64 first = index / columns * chunk;
  const int64 end = first + chunk < rows ? first + chunk : rows;
  T sum = T(0);
  for (int64 row = first; row < end; row += ROWS_AT_ONCE) {
    T loaded[ROWS_AT_ONCE];
    load_rows(x + column, row, end, columns, loaded);
    for (int r = 0; r < ROWS_AT_ONCE; ++r)
      if (row + r < end) sum += loaded[r];
  }
  return sum;
}

// Add the bias to one row of logits, in place, and write its softmax. The largest logit is taken
// away first, so that no exponential overflows.
template <typename T, typename Lanes = OneLane>
GPUBP_HD void bias_softmax_row(T* z, const T* bias, T* y, int64 columns, Lanes lanes = Lanes()) {
  T largest = z[0] + bias[0];
  lanes.wait();  // z[0] is read by all lanes and written by the first
  for (int64 j = lanes.first(); j < columns; j += lanes.step()) {
    z[j] += bias[j];
    largest = z[j] > largest ? z[j] : largest;
  }
  largest = lanes.largest(largest);
  for (int64 j = lanes.first(); j < columns; j += lanes.step()) y[j] = math::exp(z[j] - largest);
  T sum = T(0);
  for (int64 j = lanes.first(); j < columns; j += lanes.step()) sum += y[j];
  sum = lanes.sum(sum);
  for (int64 j = lanes.first(); j < columns; j += lanes.step()) y[j] /= sum;
}

// dz = y * (dy - sum(dy * y)); dz may be the same array as dy.
template <typename T, typename S, typename Lanes = OneLane>
GPUBP_HD void softmax_backward_row(const T* y, const S* dy, S* dz, int64 columns,
                                   Lanes lanes = Lanes()) {
  T dot = T(0);
  for (int64 j = lanes.first(); j < columns; j += lanes.step()) dot += widen<T>(dy[j]) * y[j];
  dot = lanes.sum(dot);
  for (int64 j = lanes.first(); j < columns; j += lanes.step())
    narrow(y[j] * (widen<T>(dy[j]) - dot), dz[j]);
}

}  // namespace gpubp
