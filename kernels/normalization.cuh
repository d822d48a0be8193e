// Normalisation of weighted sums: of a row over its units (layer normalisation), or of a unit over
// the rows of a batch (batch normalisation), with their exact derivatives. Formulas: README.md.
#pragma once
#include "lanes.cuh"
#include "storage.cuh"

namespace gpubp {

// One row, in place: n = (x - mean) / sqrt(variance + epsilon). Returns 1 / sqrt(...).
template <typename T, typename S, typename Lanes = OneLane>
GPUBP_HD T layer_norm_row(S* n, int64 columns, T epsilon, Lanes lanes = Lanes()) {
  T sum = T(0);
  for (int64 j = lanes.first(); j < columns; j += lanes.step()) sum += widen<T>(n[j]);
  const T mean = lanes.sum(sum) / T(columns);
  T squares = T(0);
  for (int64 j = lanes.first(); j < columns; j += lanes.step()) {
    const T distance = widen<T>(n[j]) - mean;
    squares += distance * distance;
  }
  const T inverse = T(1) / math::sqrt(lanes.sum(squares) / T(columns) + epsilon);
  for (int64 j = lanes.first(); j < columns; j += lanes.step())
    narrow((widen<T>(n[j]) - mean) * inverse, n[j]);
  return inverse;
}

// One row, in place: from the gradient by z = gamma n + bias to that by x.
template <typename T, typename S, typename Lanes = OneLane>
GPUBP_HD void layer_norm_backward_row(const S* n, const T* gamma, T inverse, S* delta,
                                      int64 columns, Lanes lanes = Lanes()) {
  T sum = T(0), dot = T(0);
  for (int64 j = lanes.first(); j < columns; j += lanes.step()) {
    const T dn = widen<T>(delta[j]) * gamma[j];
    sum += dn;
    dot += dn * widen<T>(n[j]);
  }
  const T mean = lanes.sum(sum) / T(columns), mean_dot = lanes.sum(dot) / T(columns);
  for (int64 j = lanes.first(); j < columns; j += lanes.step()) {
    const T dn = widen<T>(delta[j]) * gamma[j];
    narrow((dn - mean - widen<T>(n[j]) * mean_dot) * inverse, delta[j]);
  }
}

// One element, of a batch of `rows` rows: the sums are over the rows, of the gradient by z and of
// that times n.
template <typename T>
GPUBP_HD T batch_norm_backward(T n, T gamma, T inverse, T delta, T dbias, T dgamma, T rows) {
  return gamma * inverse * (delta - (dbias + n * dgamma) / rows);
}

}  // namespace gpubp
