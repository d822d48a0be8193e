// Loss functions. Each takes one row of outputs (or logits) and one row of expected values, writes
// the row's gradient times `scale` and returns the row's loss times `scale`; with scale = 1 / batch
// the sum over the rows is the mean loss and the gradient is that of the mean. The gradient may be
// stored narrower than it is computed. `parameter` is the loss's own setting, where it has one.
#pragma once
#include "activations.cuh"
#include "lanes.cuh"
#include "storage.cuh"

namespace gpubp {

template <typename T, typename S, typename Lanes = OneLane>
GPUBP_HD T squared_error_row(const T* y, const T* expected, S* dy, int64 columns, T scale, T,
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
GPUBP_HD T absolute_error_row(const T* y, const T* expected, S* dy, int64 columns, T scale, T,
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

// Huber 1964: quadratic within `delta` of the expected value, linear beyond.
template <typename T, typename S, typename Lanes = OneLane>
GPUBP_HD T huber_row(const T* y, const T* expected, S* dy, int64 columns, T scale, T delta,
                     Lanes lanes = Lanes()) {
  T loss = T(0);
  for (int64 j = lanes.first(); j < columns; j += lanes.step()) {
    const T difference = y[j] - expected[j];
    const T size = math::fabs(difference);
    loss += size <= delta ? T(0.5) * difference * difference : delta * (size - T(0.5) * delta);
    const T slope = difference > delta ? delta : (difference < -delta ? -delta : difference);
    narrow(slope * scale, dy[j]);
  }
  return lanes.sum(loss) * scale;
}

// Quantile regression (Koenker and Bassett 1978): the share `q` of the values lies below y.
template <typename T, typename S, typename Lanes = OneLane>
GPUBP_HD T quantile_row(const T* y, const T* expected, S* dy, int64 columns, T scale, T q,
                        Lanes lanes = Lanes()) {
  T loss = T(0);
  for (int64 j = lanes.first(); j < columns; j += lanes.step()) {
    const T difference = y[j] - expected[j];
    const T slope = difference > T(0) ? T(1) - q : (difference < T(0) ? -q : T(0));
    loss += keep_nan(difference, difference * slope);
    narrow(keep_nan(difference, slope) * scale, dy[j]);
  }
  return lanes.sum(loss) * scale;
}

// Exp and half the Poisson deviance on logits: exp(z) - t + t (log(t) - z).
template <typename T, typename S, typename Lanes = OneLane>
GPUBP_HD T poisson_row(const T* z, const T* expected, S* dz, int64 columns, T scale, T,
                       Lanes lanes = Lanes()) {
  T loss = T(0);
  for (int64 j = lanes.first(); j < columns; j += lanes.step()) {
    const T t = expected[j], mean = math::exp(z[j]);
    const T floor = t > T(0) ? t : T(1);  // t log(t) is 0 for t = 0
    loss += (mean - t) + t * (math::log(floor) - z[j]);
    narrow((mean - t) * scale, dz[j]);
  }
  return lanes.sum(loss) * scale;
}

// x to the power of gamma, both 0 or more.
template <typename T>
GPUBP_HD T positive_power(T x, T gamma) {
  const T base = x > T(0) ? x : T(1);
  const T power = math::exp(gamma * math::log(base));
  return keep_nan(x, x > T(0) || gamma == T(0) ? power : T(0));
}

// Sigmoid and focal loss on logits (Lin et al. 2017): the cross-entropy of each side times the
// other side's probability to the power of gamma.
template <typename T, typename S, typename Lanes = OneLane>
GPUBP_HD T binary_focal_row(const T* z, const T* expected, S* dz, int64 columns, T scale, T gamma,
                            Lanes lanes = Lanes()) {
  T loss = T(0);
  for (int64 j = lanes.first(); j < columns; j += lanes.step()) {
    const T t = expected[j], log_p = -softplus(-z[j]), log_q = -softplus(z[j]);
    const T p = sigmoid(z[j]), q = sigmoid(-z[j]);
    const T p_power = positive_power(p, gamma), q_power = positive_power(q, gamma);
    loss -= t * q_power * log_p + (T(1) - t) * p_power * log_q;
    const T of_yes = t * q_power * (gamma * p * log_p - q);
    const T of_no = (T(1) - t) * p_power * (p - gamma * q * log_q);
    narrow((of_yes + of_no) * scale, dz[j]);
  }
  return lanes.sum(loss) * scale;
}

// Sigmoid and binary cross-entropy on logits: max(z, 0) - z t + log(1 + exp(-|z|)).
template <typename T, typename S, typename Lanes = OneLane>
GPUBP_HD T binary_cross_entropy_row(const T* z, const T* expected, S* dz, int64 columns, T scale, T,
                                    Lanes lanes = Lanes()) {
  T loss = T(0);
  for (int64 j = lanes.first(); j < columns; j += lanes.step()) {
    loss += softplus(z[j]) - z[j] * expected[j];
    narrow((sigmoid(z[j]) - expected[j]) * scale, dz[j]);
  }
  return lanes.sum(loss) * scale;
}

// The same with the share `smoothing` of every expected value spread over yes and no.
template <typename T, typename S, typename Lanes = OneLane>
GPUBP_HD T smoothed_binary_cross_entropy_row(const T* z, const T* expected, S* dz, int64 columns,
                                             T scale, T smoothing, Lanes lanes = Lanes()) {
  const T kept = T(1) - smoothing, spread = smoothing / T(2);
  T loss = T(0);
  for (int64 j = lanes.first(); j < columns; j += lanes.step()) {
    const T t = kept * expected[j] + spread;
    loss += softplus(z[j]) - z[j] * t;
    narrow((sigmoid(z[j]) - t) * scale, dz[j]);
  }
  return lanes.sum(loss) * scale;
}

template <typename T, typename Lanes>
GPUBP_HD T sum_exp(const T* z, T largest, int64 columns, Lanes lanes) {
  T sum = T(0);
  for (int64 j = lanes.first(); j < columns; j += lanes.step()) sum += math::exp(z[j] - largest);
  return lanes.sum(sum);
}

// The same, and keep the exponentials, which is only done where that loses no digits.
template <typename T, typename Lanes>
GPUBP_HD T sum_exp(const T* z, T* e, T largest, int64 columns, Lanes lanes) {
  for (int64 j = lanes.first(); j < columns; j += lanes.step()) e[j] = math::exp(z[j] - largest);
  T sum = T(0);
  for (int64 j = lanes.first(); j < columns; j += lanes.step()) sum += e[j];
  return lanes.sum(sum);
}

template <typename T, typename S, typename Lanes>
GPUBP_HD T sum_exp(const T* z, S*, T largest, int64 columns, Lanes lanes) {
  return sum_exp(z, largest, columns, lanes);
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

// Softmax and cross-entropy on logits against probabilities target(j) that sum to one. The
// logarithm of a probability is z - largest - log(sum), in this order: largest + log(sum) would
// lose the digits by which large logits differ.
template <typename T, typename S, typename Lanes, typename Target>
GPUBP_HD T cross_entropy_of(const T* z, Target target, S* dz, int64 columns, T scale, Lanes lanes) {
  const T largest = largest_of(z, columns, lanes);
  const T sum = sum_exp(z, dz, largest, columns, lanes);
  const T log_sum = math::log(sum);
  T loss = T(0);
  for (int64 j = lanes.first(); j < columns; j += lanes.step()) {
    loss -= target(j) * (z[j] - largest - log_sum);
    narrow((exp_again(z[j], dz[j], largest) / sum - target(j)) * scale, dz[j]);
  }
  return lanes.sum(loss) * scale;
}

template <typename T, typename S, typename Lanes = OneLane>
GPUBP_HD T cross_entropy_row(const T* z, const T* expected, S* dz, int64 columns, T scale, T,
                             Lanes lanes = Lanes()) {
  const auto target = [=](int64 j) { return expected[j]; };
  return cross_entropy_of(z, target, dz, columns, scale, lanes);
}

// The same with the share `smoothing` of every row spread evenly over all classes (Szegedy et al.
// 2016).
template <typename T, typename S, typename Lanes = OneLane>
GPUBP_HD T smoothed_cross_entropy_row(const T* z, const T* expected, S* dz, int64 columns, T scale,
                                      T smoothing, Lanes lanes = Lanes()) {
  const T kept = T(1) - smoothing, spread = smoothing / T(columns);
  const auto target = [=](int64 j) { return kept * expected[j] + spread; };
  return cross_entropy_of(z, target, dz, columns, scale, lanes);
}

// The logit of the expected class; NaN for a label that is no class, which leads out of the row.
template <typename T>
GPUBP_HD T logit_of(const T* z, int64 expected, int64 columns) {
  return expected >= 0 && expected < columns ? z[expected] : T(math::nan(""));
}

// Softmax and cross-entropy on logits against the index of the expected class.
template <typename T, typename S, typename Lanes = OneLane>
GPUBP_HD T class_cross_entropy_row(const T* z, int64 expected, S* dz, int64 columns, T scale, T,
                                   Lanes lanes = Lanes()) {
  const T largest = largest_of(z, columns, lanes);
  const T sum = sum_exp(z, dz, largest, columns, lanes);
  const T loss = largest - logit_of(z, expected, columns) + math::log(sum);
  const T factor = scale / sum;
  for (int64 j = lanes.first(); j < columns; j += lanes.step()) {
    const T share = exp_again(z[j], dz[j], largest) * factor;
    narrow(j == expected ? share - scale : share, dz[j]);
  }
  return loss * scale;
}

// The same with the share `smoothing` of every row spread evenly over all classes.
template <typename T, typename S, typename Lanes = OneLane>
GPUBP_HD T class_smoothed_cross_entropy_row(const T* z, int64 expected, S* dz, int64 columns,
                                            T scale, T smoothing, Lanes lanes = Lanes()) {
  const T kept = T(1) - smoothing, spread = smoothing / T(columns);
  const T no_class = logit_of(z, expected, columns) * T(0);  // NaN for a label that is none
  const auto target = [=](int64 j) { return j == expected ? kept + spread : spread; };
  return cross_entropy_of(z, target, dz, columns, scale, lanes) + no_class;
}

// The focal loss (Lin et al. 2017) of one class with the logarithm of its probability p,
// -(1 - p)^gamma log(p), and p times its derivative by p.
template <typename T>
struct Focal {
  T loss, slope;
};

template <typename T>
GPUBP_HD Focal<T> focal(T log_p, T gamma) {
  const T q = -math::expm1(log_p), power = positive_power(q, gamma);
  const T ratio = q > T(0) ? log_p / q : T(-1);  // its limit for p = 1
  return {-power * log_p, power * (gamma * (T(1) - q) * ratio - T(1))};
}

// Softmax and focal loss on logits against probabilities.
template <typename T, typename S, typename Lanes = OneLane>
GPUBP_HD T focal_row(const T* z, const T* expected, S* dz, int64 columns, T scale, T gamma,
                     Lanes lanes = Lanes()) {
  const T largest = largest_of(z, columns, lanes);
  const T log_sum = math::log(sum_exp(z, largest, columns, lanes));
  T loss = T(0), slopes = T(0);
  for (int64 j = lanes.first(); j < columns; j += lanes.step()) {
    const Focal<T> one = focal(z[j] - largest - log_sum, gamma);
    loss += expected[j] * one.loss;
    slopes += expected[j] * one.slope;
  }
  slopes = lanes.sum(slopes);
  for (int64 j = lanes.first(); j < columns; j += lanes.step()) {
    const T log_p = z[j] - largest - log_sum;
    const T own = expected[j] * focal(log_p, gamma).slope;
    narrow((own - math::exp(log_p) * slopes) * scale, dz[j]);
  }
  return lanes.sum(loss) * scale;
}

// Softmax and focal loss on logits against the index of the expected class.
template <typename T, typename S, typename Lanes = OneLane>
GPUBP_HD T class_focal_row(const T* z, int64 expected, S* dz, int64 columns, T scale, T gamma,
                           Lanes lanes = Lanes()) {
  const T largest = largest_of(z, columns, lanes);
  const T log_sum = math::log(sum_exp(z, largest, columns, lanes));
  const Focal<T> one = focal(logit_of(z, expected, columns) - largest - log_sum, gamma);
  for (int64 j = lanes.first(); j < columns; j += lanes.step()) {
    const T own = j == expected ? one.slope : T(0);
    narrow((own - math::exp(z[j] - largest - log_sum) * one.slope) * scale, dz[j]);
  }
  return one.loss * scale;
}

}  // namespace gpubp
