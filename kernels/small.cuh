// A whole training step of a small network in two kernels: a warp takes each row forward, through
// the loss and back; then a thread takes each parameter's gradient over the rows and updates it.
#pragma once
#include "lanes.cuh"

namespace gpubp {

// Neurons that a lane adds up side by side, so that it reads an input once for all of them.
enum { SMALL_TILE = 4 };

// One row of a layer: z = bias + x weight, y = f(z); y may be the same array as z.
template <typename T, typename Lanes, typename Function>
GPUBP_HD void small_forward(const T* x, const T* weight, const T* bias, T* z, T* y, int64 inputs,
                            int64 outputs, Lanes lanes, Function function) {
  for (int64 first = lanes.first(); first < outputs; first += SMALL_TILE * lanes.step()) {
    T sum[SMALL_TILE];
    int64 column[SMALL_TILE];
    for (int t = 0; t < SMALL_TILE; ++t) {
      const int64 own = first + t * lanes.step();
      column[t] = own < outputs ? own : first;  // past the end: once more what is there
      sum[t] = bias[column[t]];
    }
    for (int64 i = 0; i < inputs; ++i) {
      const T input = x[i];
      for (int t = 0; t < SMALL_TILE; ++t) sum[t] += input * weight[i * outputs + column[t]];
    }
    for (int t = 0; t < SMALL_TILE; ++t) {
      z[column[t]] = sum[t];
      y[column[t]] = function(column[t], sum[t]);
    }
  }
  lanes.wait();
}

// One row of the gradient by a layer's inputs, dx = weight dz, handed on by `function`.
template <typename T, typename Lanes, typename Function>
GPUBP_HD void small_backward(const T* dz, const T* weight, T* dx, int64 inputs, int64 outputs,
                             Lanes lanes, Function function) {
  for (int64 i = lanes.first(); i < inputs; i += lanes.step()) {
    T sum = T(0);
    for (int64 j = 0; j < outputs; ++j) sum += dz[j] * weight[i * outputs + j];
    dx[i] = function(i, sum);
  }
  lanes.wait();
}

// The gradient by parameter `index` of a layer, weights first and then the bias, over all rows.
template <typename T>
GPUBP_HD T small_gradient(const T* x, const T* dz, int64 index, int64 rows, int64 inputs,
                          int64 outputs) {
  const int64 input = index / outputs, output = index % outputs;
  T sum = T(0);
  for (int64 row = 0; row < rows; ++row)
    sum += dz[row * outputs + output] * (input < inputs ? x[row * inputs + input] : T(1));
  return sum;
}

}  // namespace gpubp
