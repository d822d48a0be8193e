// A narrow output layer of a training step, a row at a time: its weighted sums, and the gradient by
// its inputs once the loss of losses.cuh has written that by the sums. The weights, (inputs,
// outputs), are read through the cache by all rows; a product would not fill a device with so few
// outputs.
#pragma once
#include "lanes.cuh"
#include "storage.cuh"

namespace gpubp {

enum { DOT_SUMS = 4 };  // sums of a dot product that do not wait for each other

// The sum of a[k] b[k step] over k, in an order that depends on `count` alone.
template <typename T, typename S>
GPUBP_HD T dot(const S* a, const S* b, int64 count, int64 step) {
  T sums[DOT_SUMS] = {};
  int64 k = 0;
  for (; k + DOT_SUMS <= count; k += DOT_SUMS)
    for (int s = 0; s < DOT_SUMS; ++s) sums[s] += widen<T>(a[k + s]) * widen<T>(b[(k + s) * step]);
  for (; k < count; ++k) sums[0] += widen<T>(a[k]) * widen<T>(b[k * step]);
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// z = factor x W + b; every lane has outputs of its own, and all may read all of z afterwards.
template <typename T, typename S, typename Lanes>
GPUBP_HD void output_row(const S* x, const S* weight, const T* bias, T factor, T* z, int64 inputs,
                         int64 outputs, Lanes lanes) {
  for (int64 j = lanes.first(); j < outputs; j += lanes.step())
    z[j] = factor * dot<T>(x, weight + j, inputs, outputs) + bias[j];
  lanes.wait();
}

// dx = f'(x) factor dz W': the layer below has the outputs x, which its slope is computed from.
template <typename T, typename S, typename Lanes, typename Backward>
GPUBP_HD void output_backward_row(const S* dz, const S* weight, const S* x, T factor, S* dx,
                                  int64 inputs, int64 outputs, Lanes lanes, Backward backward) {
  lanes.wait();  // every lane has written its own numbers of dz
  for (int64 k = lanes.first(); k < inputs; k += lanes.step()) {
    T sum = T(0);
    for (int64 j = 0; j < outputs; ++j) sum += widen<T>(dz[j]) * widen<T>(weight[k * outputs + j]);
    const T y = widen<T>(x[k]);
    narrow(backward(y, y, factor * sum), dx[k]);
  }
}

}  // namespace gpubp
