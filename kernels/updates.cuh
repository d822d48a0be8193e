// Optimizer steps for one parameter p with gradient g; state (velocity, mean square, moments) is
// updated in place. Sources of the formulas: README.md. Decay rates come as double, because 1 -
// decay loses digits in float: 1 - 0.999 would be off by one part in 80000.
#pragma once
#include "math.cuh"

namespace gpubp {

template <typename T>
GPUBP_HD void sgd(T g, T& p, T rate) {
  p -= rate * g;
}

template <typename T>
GPUBP_HD void momentum(T g, T& p, T& velocity, T rate, T decay) {
  velocity = decay * velocity + g;
  p -= rate * velocity;
}

template <typename T>
GPUBP_HD void nesterov(T g, T& p, T& velocity, T rate, T decay) {
  velocity = decay * velocity + g;
  p -= rate * (g + decay * velocity);
}

template <typename T>
GPUBP_HD void rmsprop(T g, T& p, T& square, T rate, double decay, T epsilon) {
  square = T(decay) * square + T(1 - decay) * (g * g);
  p -= rate * g / (math::sqrt(square) + epsilon);
}

template <typename T>
GPUBP_HD void adagrad(T g, T& p, T& square, T rate, T epsilon) {
  square += g * g;
  p -= rate * g / (math::sqrt(square) + epsilon);
}

// -1, 0 or 1; NaN stays NaN.
template <typename T>
GPUBP_HD T sign(T x) {
  return x > T(0) ? T(1) : (x < T(0) ? T(-1) : x);
}

template <typename T>
GPUBP_HD void lion(T g, T& p, T& moment, T rate, double beta1, double beta2, T shrink) {
  const T direction = T(beta1) * moment + T(1 - beta1) * g;
  p = shrink * p - rate * sign(direction);
  moment = T(beta2) * moment + T(1 - beta2) * g;
}

// rate_g = learning rate (1 - mu_t) / (1 - mu_1 ... mu_t), rate_m = learning rate mu_(t+1) / (1 -
// mu_1 ... mu_(t+1)) and root = 1 / sqrt(1 - beta2^t).
template <typename T>
GPUBP_HD void nadam(T g, T& p, T& moment1, T& moment2, T rate_g, T rate_m, double beta1,
                    double beta2, T epsilon, T root) {
  moment1 = T(beta1) * moment1 + T(1 - beta1) * g;
  moment2 = T(beta2) * moment2 + T(1 - beta2) * (g * g);
  p -= (rate_g * g + rate_m * moment1) / (math::sqrt(moment2) * root + epsilon);
}

// rate = learning rate / (1 - beta1^step) and root = 1 / sqrt(1 - beta2^step) undo the bias of
// moments that started at zero. shrink is 1 for Adam and 1 - learning rate * weight decay for
// AdamW.
template <typename T>
GPUBP_HD void adam(T g, T& p, T& moment1, T& moment2, T rate, double beta1, double beta2, T epsilon,
                   T root, T shrink) {
  moment1 = T(beta1) * moment1 + T(1 - beta1) * g;
  moment2 = T(beta2) * moment2 + T(1 - beta2) * (g * g);
  p = shrink * p - rate * moment1 / (math::sqrt(moment2) * root + epsilon);
}

}  // namespace gpubp
