// Loss functions. Each takes one row of outputs (or logits) and one row of expected values, writes
// the row's gradient times `scale` and returns the row's loss times `scale`; with scale = 1 / batch
// the sum over the rows is the mean loss and the gradient is that of the mean. The gradient may be
// stored narrower than it is computed.
#pragma once
#include "activations.cuh"
#include "lanes.cuh"
#include "storage.cuh"

namespace gpubp {

template <typename T, typename S, typename Lanes = OneLane>
GPUBP_HD T squared_error_row(const T* y, const T* expected, S* dy, int64 columns, T scale,
                             Lanes lanes = Lanes()) {
  T loss = T(0);
  for (int64 j = lanes.first(); j < columns; j += lanes.step()) {
    const T difference = y[j] - expected[j];
    loss += T(0.5) * difference * difference;
    narrow(difference * scale, dy[j]);
  }
  return lanes.sum(loss) * scale;
}

template <typename T, typename S, typename Lanes = OneLane>
GPUBP_HD T absolute_error_row(const T* y, const T* expected, S* dy, int64 columns, T scale,
                              Lanes lanes = Lanes()) {
  T loss = T(0);
  for (int64 j = lanes.first(); j < columns; j += lanes.step()) {
    const T difference = y[j] - expected[j];
    loss += math::fabs(difference);
    const T sign = difference > T(0) ? T(1) : (difference < T(0) ? T(-1) : difference);
    narrow(sign * scale, dy[j]);
  }
  return lanes.sum(loss) * scale;
}

// Huber 1964 with delta = 1: quadratic within one unit of the expected value, linear beyond.
template <typename T, typename S, typename Lanes = OneLane>
GPUBP_HD T huber_row(const T* y, const T* expected, S* dy, int64 columns, T scale,
                     Lanes lanes = Lanes()) {
  T loss = T(0);
  for (int64 j = lanes.first(); j < columns; j += lanes.step()) {
    const T difference = y[j] - expected[j];
    const T size = math::fabs(difference);
    loss += size <= T(1) ? T(0.5) * difference * difference : size - T(0.5);
    const T slope = difference > T(1) ? T(1) : (difference < T(-1) ? T(-1) : difference);
    narrow(slope * scale, dy[j]);
  }
  return lanes.sum(loss) * scale;
}

// Sigmoid and binary cross-entropy on logits: max(z, 0) - z t + log(1 + exp(-|z|)).
template <typename T, typename S, typename Lanes = OneLane>
GPUBP_HD T binary_cross_entropy_row(const T* z, const T* expected, S* dz, int64 columns, T scale,
                                    Lanes lanes = Lanes()) {
  T loss = T(0);
  for (int64 j = lanes.first(); j < columns; j += lanes.step()) {
    loss += softplus(z[j]) - z[j] * expected[j];
    narrow((sigmoid(z[j]) - expected[j]) * scale, dz[j]);
  }
  return lanes.sum(loss) * scale;
}

// Sum exp(z - largest) and keep the exponentials, which is only done where that loses no digits.
template <typename T, typename Lanes>
GPUBP_HD T sum_exp(const T* z, T* e, T largest, int64 columns, Lanes lanes) {
  for (int64 j = lanes.first(); j < columns; j += lanes.step()) e[j] = math::exp(z[j] - largest);
  T sum = T(0);
  for (int64 j = lanes.first(); j < columns; j += lanes.step()) sum += e[j];
  return lanes.sum(sum);
}

template <typename T, typename S, typename Lanes>
GPUBP_HD T sum_exp(const T* z, S*, T largest, int64 columns, Lanes lanes) {
  T sum = T(0);
  for (int64 j = lanes.first(); j < columns; j += lanes.step()) sum += math::exp(z[j] - largest);
  return lanes.sum(sum);
}

// exp(z - largest) again: what sum_exp kept, or computed anew.
template <typename T>
GPUBP_HD T exp_again(T, T kept, T) {
  return kept;
}

template <typename T, typename S>
GPUBP_HD T exp_again(T z, S, T largest) {
  return math::exp(z - largest);
}

template <typename T, typename Lanes>
GPUBP_HD T largest_of(const T* z, int64 columns, Lanes lanes) {
  T largest = z[0];
  for (int64 j = lanes.first(); j < columns; j += lanes.step())
    largest = z[j] > largest ? z[j] : largest;
  return lanes.largest(largest);
}

// Softmax and cross-entropy on logits against probabilities that sum to one. The logarithm of a
// probability is z - largest - log(sum), in this order: largest + log(sum) would lose the digits
// by which large logits differ.
template <typename T, typename S, typename Lanes = OneLane>
GPUBP_HD T cross_entropy_row(const T* z, const T* expected, S* dz, int64 columns, T scale,
                             Lanes lanes = Lanes()) {
  const T largest = largest_of(z, columns, lanes);
  const T sum = sum_exp(z, dz, largest, columns, lanes);
  const T log_sum = math::log(sum);
  T loss = T(0);
  for (int64 j = lanes.first(); j < columns; j += lanes.step()) {
    loss -= expected[j] * (z[j] - largest - log_sum);
    narrow((exp_again(z[j], dz[j], largest) / sum - expected[j]) * scale, dz[j]);
  }
  return lanes.sum(loss) * scale;
}

// Softmax and cross-entropy on logits against the index of the expected class.
template <typename T, typename S, typename Lanes = OneLane>
GPUBP_HD T class_cross_entropy_row(const T* z, int64 expected, S* dz, int64 columns, T scale,
                                   Lanes lanes = Lanes()) {
  const T largest = largest_of(z, columns, lanes);
  const T sum = sum_exp(z, dz, largest, columns, lanes);
  const T loss = largest - z[expected] + math::log(sum);
  const T factor = scale / sum;
  for (int64 j = lanes.first(); j < columns; j += lanes.step()) {
    const T share = exp_again(z[j], dz[j], largest) * factor;
    narrow(j == expected ? share - scale : share, dz[j]);
  }
  return loss * scale;
}

}  // namespace gpubp
