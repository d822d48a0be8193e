// Activation functions y = f(x) and their backward functions dx = f'(x) * dy.
//
// One signature for all backward functions: (x, y, dy) -> dx. A function reads x or y, never both;
// gpubp/backends/formulas says which one has to be kept. Formulas and error bounds: README.md.
#pragma once
#include "math.cuh"

namespace gpubp {

template <typename T>
GPUBP_HD T identity(T x) {
  return x;
}

template <typename T>
GPUBP_HD T identity_backward(T, T, T dy) {
  return dy;
}

template <typename T>
GPUBP_HD T sigmoid(T x) {
  return T(1) / (T(1) + math::exp(-x));
}

template <typename T>
GPUBP_HD T sigmoid_backward(T, T y, T dy) {
  return dy * (y * (T(1) - y));
}

template <typename T>
GPUBP_HD T tanh(T x) {
  return math::tanh(x);
}

template <typename T>
GPUBP_HD T tanh_backward(T, T y, T dy) {
  return dy * ((T(1) - y) * (T(1) + y));
}

template <typename T>
GPUBP_HD T exp(T x) {
  return math::exp(x);
}

template <typename T>
GPUBP_HD T exp_backward(T, T y, T dy) {
  return dy * y;
}

template <typename T>
GPUBP_HD T relu(T x) {
  return keep_nan(x, x > T(0) ? x : T(0));
}

template <typename T>
GPUBP_HD T relu_backward(T, T y, T dy) {
  return keep_nan(y, y > T(0) ? dy : T(0) * dy);
}

template <typename T>
GPUBP_HD T leaky_relu(T x) {
  return x > T(0) ? x : T(0.01) * x;
}

template <typename T>
GPUBP_HD T leaky_relu_backward(T, T y, T dy) {
  return keep_nan(y, y > T(0) ? dy : T(0.01) * dy);
}

template <typename T>
GPUBP_HD T elu(T x) {
  return x > T(0) ? x : math::expm1(x);
}

template <typename T>
GPUBP_HD T elu_backward(T, T y, T dy) {
  return y > T(0) ? dy : dy * (y + T(1));
}

// Constants of Klambauer et al. 2017, "Self-Normalizing Neural Networks".
template <typename T>
GPUBP_HD T selu(T x) {
  return T(1.0507009873554805) * (x > T(0) ? x : T(1.6732632423543772) * math::expm1(x));
}

template <typename T>
GPUBP_HD T selu_backward(T, T y, T dy) {
  const T scale = T(1.0507009873554805);
  return y > T(0) ? dy * scale : dy * (y + scale * T(1.6732632423543772));
}

template <typename T>
GPUBP_HD T softplus(T x) {
  return keep_nan(x, (x > T(0) ? x : T(0)) + math::log1p(math::exp(-math::fabs(x))));
}

// f'(x) = sigmoid(x) = 1 - exp(-y)
template <typename T>
GPUBP_HD T softplus_backward(T, T y, T dy) {
  return dy * -math::expm1(-y);
}

// (x + sqrt(x^2 + 4)) / 2 (Barron 2021); from 1e9 on the root is h to the last bit.
template <typename T>
GPUBP_HD T squareplus(T x) {
  const T h = T(0.5) * math::fabs(x);
  const T root = h < T(1e9) ? math::sqrt(h * h + T(1)) : h;
  return (x > T(0) ? x : T(0)) + T(1) / (h + root);
}

// f'(x) = (1 + x / sqrt(x^2 + 4)) / 2, where x = y - 1 / y
template <typename T>
GPUBP_HD T squareplus_backward(T, T y, T dy) {
  return dy * (y / (y + T(1) / y));
}

template <typename T>
GPUBP_HD T silu(T x) {
  return x / (T(1) + math::exp(-x));
}

// 1 - s is sigmoid(-x), which does not cancel where s is all but 1.
template <typename T>
GPUBP_HD T silu_backward(T x, T, T dy) {
  return dy * (sigmoid(x) * (T(1) + x * sigmoid(-x)));
}

// x P(X <= x) for a standard normal X
template <typename T>
GPUBP_HD T gelu(T x) {
  return x * math::normal_cdf(x);
}

template <typename T>
GPUBP_HD T gelu_backward(T x, T, T dy) {
  const T density = T(0.3989422804014327) * math::exp(T(-0.5) * x * x);
  return dy * (math::normal_cdf(x) + x * density);
}

// x sigmoid(2 u), with 2 u = 2 sqrt(2 / pi) (x + 0.044715 x^3). exp turns a rounding of 2 u into a
// relative error of its size: this order has the fewest roundings of the larger term.
template <typename T>
GPUBP_HD T gelu_tanh(T x) {
  const T gate = T(1.5957691216057308) * x + (T(0.07135481627260025) * x) * (x * x);
  return x / (T(1) + math::exp(-gate));
}

// Beyond +-30 the derivative is 0 or 1 to the last bit; the clamp keeps x * x finite.
template <typename T>
GPUBP_HD T gelu_tanh_backward(T x, T, T dy) {
  const T c = x > T(30) ? T(30) : (x < T(-30) ? T(-30) : x);
  const T square = T(0.044715) * c * c;
  const T u = T(1.5957691216057308) * c * (T(1) + square);
  const T slope = T(1.5957691216057308) * (T(1) + T(3) * square);
  const T s = sigmoid(u);
  return dy * (s * (T(1) + c * slope * sigmoid(-u)));
}

template <typename T>
GPUBP_HD T softsign(T x) {
  return x / (T(1) + math::fabs(x));
}

template <typename T>
GPUBP_HD T softsign_backward(T, T y, T dy) {
  const T rest = T(1) - math::fabs(y);
  return dy * (rest * rest);
}

template <typename T>
GPUBP_HD T hard_sigmoid(T x) {
  return x <= T(-3) ? T(0) : (x >= T(3) ? T(1) : (x + T(3)) / T(6));
}

template <typename T>
GPUBP_HD T hard_sigmoid_backward(T, T y, T dy) {
  return keep_nan(y, y > T(0) && y < T(1) ? dy / T(6) : T(0) * dy);
}

// tanh(softplus(x)) = n / (n + r) with n = m^2 + 2 m p, r = 2 p^2, m = exp(min(x, 0)) and
// p = exp(-max(x, 0)), of which one is 1: no exponential overflows and nothing cancels. Below -80
// the tanh is m to rounding, but exp(x) may be taken as zero where x exp(x) is not: there m is
// exp(x + 40), and exp(-40) goes to x.
template <typename T>
GPUBP_HD T mish(T x) {
  const bool small = x < T(-80);
  const T e = math::exp(small ? x + T(40) : -math::fabs(x));
  const T m = x > T(0) ? T(1) : e, p = x > T(0) ? e : T(1);
  const T n = m * (m + T(2) * p);
  return (small ? x * T(4.248354255291589e-18) : x) * (n / (n + T(2) * p * p));
}

template <typename T>
GPUBP_HD T mish_backward(T x, T, T dy) {
  const T e = math::exp(-math::fabs(x));
  const T m = x > T(0) ? T(1) : e, p = x > T(0) ? e : T(1);
  const T n = m * (m + T(2) * p);
  const T r = T(2) * p * p;
  const T t = n / (n + r);
  return dy * (t + x * (r / (n + r) * (T(1) + t)) * (m / (m + p)));
}

}  // namespace gpubp
