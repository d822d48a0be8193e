// Loss functions. Each takes one row of outputs (or logits) and one row of expected values, writes
// the row's gradient times `scale` and returns the row's loss times `scale`; with scale = 1 / batch
// the sum over the rows is the mean loss and the gradient is that of the mean.
#pragma once
#include "activations.cuh"

namespace gpubp {

template <typename T>
GPUBP_HD T squared_error_row(const T* y, const T* expected, T* dy, int64 columns, T scale) {
  T loss = T(0);
  for (int64 j = 0; j < columns; ++j) {
    const T difference = y[j] - expected[j];
    loss += T(0.5) * difference * difference;
    dy[j] = difference * scale;
  }
  return loss * scale;
}

template <typename T>
GPUBP_HD T absolute_error_row(const T* y, const T* expected, T* dy, int64 columns, T scale) {
  T loss = T(0);
  for (int64 j = 0; j < columns; ++j) {
    const T difference = y[j] - expected[j];
    loss += math::fabs(difference);
    const T sign = difference > T(0) ? T(1) : (difference < T(0) ? T(-1) : difference);
    dy[j] = sign * scale;
  }
  return loss * scale;
}

// Huber 1964 with delta = 1: quadratic within one unit of the expected value, linear beyond.
template <typename T>
GPUBP_HD T huber_row(const T* y, const T* expected, T* dy, int64 columns, T scale) {
  T loss = T(0);
  for (int64 j = 0; j < columns; ++j) {
    const T difference = y[j] - expected[j];
    const T size = math::fabs(difference);
    loss += size <= T(1) ? T(0.5) * difference * difference : size - T(0.5);
    const T slope = difference > T(1) ? T(1) : (difference < T(-1) ? T(-1) : difference);
    dy[j] = slope * scale;
  }
  return loss * scale;
}

// Sigmoid and binary cross-entropy on logits: max(z, 0) - z t + log(1 + exp(-|z|)).
template <typename T>
GPUBP_HD T binary_cross_entropy_row(const T* z, const T* expected, T* dz, int64 columns, T scale) {
  T loss = T(0);
  for (int64 j = 0; j < columns; ++j) {
    loss += softplus(z[j]) - z[j] * expected[j];
    dz[j] = (sigmoid(z[j]) - expected[j]) * scale;
  }
  return loss * scale;
}

// The largest logit of a row, exp(z - largest) and its sum. The logarithm of a probability is then
// z - largest - log(sum), in this order: largest + log(sum) would lose the digits by which large
// logits differ.
template <typename T>
GPUBP_HD void exp_row(const T* z, T* e, int64 columns, T& largest, T& sum) {
  largest = z[0];
  for (int64 j = 1; j < columns; ++j) largest = z[j] > largest ? z[j] : largest;
  for (int64 j = 0; j < columns; ++j) e[j] = math::exp(z[j] - largest);
  sum = T(0);
  for (int64 j = 0; j < columns; ++j) sum += e[j];
}

// Softmax and cross-entropy on logits against probabilities that sum to one.
template <typename T>
GPUBP_HD T cross_entropy_row(const T* z, const T* expected, T* dz, int64 columns, T scale) {
  T largest, sum;
  exp_row(z, dz, columns, largest, sum);
  const T log_sum = math::log(sum);
  T loss = T(0);
  for (int64 j = 0; j < columns; ++j) {
    loss -= expected[j] * (z[j] - largest - log_sum);
    dz[j] = (dz[j] / sum - expected[j]) * scale;
  }
  return loss * scale;
}

// Softmax and cross-entropy on logits against the index of the expected class.
template <typename T>
GPUBP_HD T class_cross_entropy_row(const T* z, int64 expected, T* dz, int64 columns, T scale) {
  T largest, sum;
  exp_row(z, dz, columns, largest, sum);
  const T loss = largest - z[expected] + math::log(sum);
  const T factor = scale / sum;
  for (int64 j = 0; j < columns; ++j) dz[j] *= factor;
  dz[expected] -= scale;
  return loss * scale;
}

}  // namespace gpubp
