// Activations with a trained mixing factor: y = z + a (f(z) - z), a neuron's own a. Holzmueller,
// Grinsztajn and Steinwart 2024, "Better by default" (RealMLP's parametric activation functions).
#pragma once
#include "layers.cuh"

namespace gpubp {

// z + a (f - z), for the value f of the function
template <typename T>
GPUBP_HD T mixed(T z, T f, T a) {
  return z + a * (f - z);
}

// dy (1 + a (f' - 1)), for slope = f' dy
template <typename T>
GPUBP_HD T mixed_backward(T slope, T dy, T a) {
  return dy + a * (slope - dy);
}

// Thread `index` owns one column of one chunk of rows, as in `backward_chunk` of layers.cuh: it
// writes dz there and leaves the column's sums of dz and of dy (f(z) - z) in its place of `partial`
// and `factors`. dz may be the same array as dy.
template <typename T, typename S, typename Function, typename Backward>
GPUBP_HD void mix_backward_chunk(const S* z, const T* factor, const S* dy, S* dz, T* partial,
                                 T* factors, int64 index, int64 rows, int64 columns, int64 chunk,
                                 Function function, Backward backward) {
  const int64 column = index % columns;
  const int64 first = index / columns * chunk;
  const int64 end = first + chunk < rows ? first + chunk : rows;
  T sum = T(0), of_factor = T(0);
  for (int64 row = first; row < end; row += ROWS_AT_ONCE) {
    T of_z[ROWS_AT_ONCE], of_dy[ROWS_AT_ONCE];
    load_rows(z + column, row, end, columns, of_z);
    load_rows(dy + column, row, end, columns, of_dy);
    for (int r = 0; r < ROWS_AT_ONCE; ++r) {
      if (row + r >= end) continue;
      const T x = of_z[r], d = of_dy[r], f = function(x);
      const T value = mixed_backward(backward(x, f, d), d, factor[column]);
      narrow(value, dz[(row + r) * columns + column]);
      sum += value;
      of_factor += d * (f - x);
    }
  }
  partial[index] = sum;
  factors[index] = of_factor;
}

}  // namespace gpubp
