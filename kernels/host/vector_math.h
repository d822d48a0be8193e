// Mathematical functions in plain arithmetic, without branches or tables, so that a loop over them
// becomes vector instructions under any compiler. For the host alone; a GPU has its own.
//
// Each is a reduction of the argument and a Taylor series, long enough that the rounding of the
// arithmetic is what is left of the error: under 2 units in the last place (README.md states what
// the activation functions built on them keep to). NaN gives NaN.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

// The processors whose instructions have x y + z with one rounding.
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA) || (defined(_MSC_VER) && defined(__AVX2__))
#define GPUBP_FMA
#endif

namespace gpubp {
namespace math {

using std::cos;
using std::nan;
using std::sin;

template <typename T>
struct Format;

// Adding `round` to a number below 2^22 (2^51) leaves its nearest whole number in the last bits of
// the sum. ln2 comes in two parts: `whole * ln2_high` is exact for every exponent.
template <>
struct Format<float> {
  typedef std::int32_t Bits;
  typedef std::uint32_t Unsigned;
  static constexpr int mantissa = 23, bias = 127, log_terms = 5;
  static constexpr Bits upper_digits = ~0xfff;
  static constexpr float round = 12582912.0f, two_to_mantissa = 8388608.0f;
  static constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
  static constexpr float exp_least = -88.02f, exp_most = 88.73f;  // e^x is 0 below, infinite above
};

template <>
struct Format<double> {
  typedef std::int64_t Bits;
  typedef std::uint64_t Unsigned;
  static constexpr int mantissa = 52, bias = 1023, log_terms = 11;
  static constexpr Bits upper_digits = ~0x7ffffffLL;
  static constexpr double round = 6755399441055744.0, two_to_mantissa = 4503599627370496.0;
  static constexpr double ln2_high = 6.93147180369123816490e-01;
  static constexpr double ln2_low = 1.90821492927058770002e-10;
  static constexpr double exp_least = -709.0, exp_most = 709.8;
};

template <typename T>
inline typename Format<T>::Bits bits_of(T x) {
  typename Format<T>::Bits bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

template <typename T>
inline T from_bits(typename Format<T>::Bits bits) {
  T x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

inline float fabs(float x) { return std::fabs(x); }
inline double fabs(double x) { return std::fabs(x); }
// Square root of a number from 0 on; too small below the smallest normal number. Half of the
// exponent and one step with the constants of Kadlec (2010) tell 1 / sqrt(x) to 0.07 %, a
// series of three terms the root to 1.3 units in the last place, found by trying all numbers. The
// processor's own root would wait for the unit that divides, which the loops that call this need.
inline float sqrt(float x) {
  const float about = from_bits<float>(0x5f1ffff9 - (bits_of(x) >> 1));
  const float inverse = 0.703952253f * about * (2.38924456f - x * about * about);
  const float root = x * inverse, rest = 1.0f - root * inverse;
  const float better = root + root * rest * (0.5f + 0.375f * rest);
  return x <= 3.40282347e38f ? better : x;  // infinity and NaN are handed on
}
inline double sqrt(double x) { return std::sqrt(x); }

// x y - product without rounding, for a product that is x y rounded. Without a fused instruction
// the upper half of the digits, whose product has no rounding, and what is left of them (Dekker
// 1971).
template <typename T>
inline T product_error(T x, T y, T product) {
#ifdef GPUBP_FMA
  return std::fma(x, y, -product);
#else
  const T upper = from_bits<T>(bits_of(x) & Format<T>::upper_digits), lower = x - upper;
  const T high = from_bits<T>(bits_of(y) & Format<T>::upper_digits), low = y - high;
  return ((upper * high - product) + (upper * low + lower * high)) + lower * low;
#endif
}

// e^r - 1 for |r| <= ln(2) / 2
inline float exp_series(float r) {
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  return p * (r * r) + r;
}

inline double exp_series(double r) {
  double p = 1.0 / 6227020800;
  p = p * r + 1.0 / 479001600;
  p = p * r + 1.0 / 39916800;
  p = p * r + 1.0 / 3628800;
  p = p * r + 1.0 / 362880;
  p = p * r + 1.0 / 40320;
  p = p * r + 1.0 / 5040;
  p = p * r + 1.0 / 720;
  p = p * r + 1.0 / 120;
  p = p * r + 1.0 / 24;
  p = p * r + 1.0 / 6;
  p = p * r + 0.5;
  return p * (r * r) + r;
}

// x = n ln(2) + r: write 2^n and return e^r - 1.
template <typename T>
inline T split_exp(T x, T& power) {
  typedef Format<T> F;
  const T low = x < F::exp_least ? F::exp_least : x;
  const T held = low > F::exp_most ? F::exp_most : low;
  const T shifted = held * T(1.4426950408889634) + F::round;
  const T whole = shifted - F::round;
  const typename F::Bits n = bits_of(shifted) - bits_of(T(F::round));
  power = from_bits<T>(
      static_cast<typename F::Bits>(static_cast<typename F::Unsigned>(n + F::bias) << F::mantissa));
  return exp_series((held - whole * F::ln2_high) - whole * F::ln2_low);
}

// Below the smallest normal number the result is zero.
template <typename T>
inline T exp(T x) {
  T power;
  const T rest = split_exp(x, power);
  return power * (T(1) + rest);
}

// For x up to 80, which is all that the kernels ask for.
template <typename T>
inline T expm1(T x) {
  T power;
  const T rest = split_exp(x, power);
  return power * rest + (power - T(1));
}

template <typename T>
inline T tanh(T x) {
  const T e = math::expm1(T(-2) * math::fabs(x));
  return std::copysign(e / (T(2) + e), x);
}

// Natural logarithm of a normal number above 0: x = 2^e m with m between sqrt(1/2) and sqrt(2), and
// log(m) = 2 artanh(s) with s = (m - 1) / (m + 1). NaN and infinity are handed on.
template <typename T>
inline T log(T x) {
  typedef Format<T> F;
  typedef typename F::Bits Bits;
  typedef typename F::Unsigned Unsigned;
  const Unsigned bits = static_cast<Unsigned>(bits_of(x));
  const Unsigned least = static_cast<Unsigned>(bits_of(T(0.7071067811865476)));
  const Unsigned one = static_cast<Unsigned>(F::bias) << F::mantissa;
  const Unsigned exponent = (bits - least + one) >> F::mantissa;  // e + bias
  const T m = from_bits<T>(static_cast<Bits>(bits - (exponent << F::mantissa) + one));
  const Unsigned offset = static_cast<Unsigned>(bits_of(T(F::two_to_mantissa)));
  const T e = from_bits<T>(static_cast<Bits>(exponent | offset)) - (F::two_to_mantissa + F::bias);
  const T f = m - T(1);
  const T s = f / (T(2) + f);
  const T z = s * s;
  T series = T(0);
  for (int k = F::log_terms; k >= 1; --k) series = (series + T(1) / T(2 * k + 1)) * z;
  const T result = e * F::ln2_high + (f - s * (f - T(2) * series) + e * F::ln2_low);
  return x - x == T(0) ? result : x;
}

template <typename T>
inline T log1p(T x) {
  const T sum = T(1) + x;
  return math::log(sum) + (x - (sum - T(1))) / sum;
}

// The Chebyshev fits of gpubp/backends/formulas/normal_cdf.py, which says how they were made.
inline float erfc_polynomial(float s) {
  float p = -9.88667142691e-07f;
  p = p * s + 2.10439372921e-05f;
  p = p * s - 1.55742185302e-05f;
  p = p * s - 0.000149599834688f;
  p = p * s + 0.000212598553364f;
  p = p * s + 0.000764498661348f;
  p = p * s - 0.00162052296196f;
  p = p * s - 0.00537578463745f;
  p = p * s + 0.00911061850841f;
  p = p * s + 0.0698678632218f;
  p = p * s + 0.171790170266f;
  p = p * s + 0.255395678528f;
  return p;
}

inline double erfc_polynomial(double s) {
  double p = 6.282938335523312e-10;
  p = p * s - 5.369855442804977e-10;
  p = p * s - 5.038908114942408e-09;
  p = p * s + 6.6549154701587714e-09;
  p = p * s + 1.4997901649888925e-08;
  p = p * s - 3.495799881896355e-08;
  p = p * s - 1.6439864584155415e-09;
  p = p * s + 8.954139971480135e-08;
  p = p * s - 1.4192016254105738e-07;
  p = p * s - 7.0865784279693584e-09;
  p = p * s + 4.998405272403469e-07;
  p = p * s - 9.073751127692265e-07;
  p = p * s - 2.8110086836145937e-07;
  p = p * s + 4.028872092572653e-06;
  p = p * s - 5.424133085333852e-06;
  p = p * s - 8.536870136507156e-06;
  p = p * s + 3.611769905017191e-05;
  p = p * s - 8.592920079892022e-06;
  p = p * s - 0.00016576837726847663;
  p = p * s + 0.00020932402215890995;
  p = p * s + 0.0007726530148281089;
  p = p * s - 0.0016197962673275073;
  p = p * s - 0.0053776654723716065;
  p = p * s + 0.009110557876730709;
  p = p * s + 0.06986802313901368;
  p = p * s + 0.17179017110345254;
  p = p * s + 0.25539567631050575;
  return p;
}

// P(X <= x) for a standard normal X. For a = |x| / sqrt(2) and t = 2 / (2 + a), P(X > |x|) is
// t exp(-a^2) times a polynomial in 2 t - 1, which hardly feels the rounding of a.
template <typename T>
inline T normal_cdf(T x) {
  const T size = math::fabs(x);
  const T held = size > T(40) ? T(40) : size;  // P(X > 40) is zero in either precision
  const T twice = T(4) / (T(2) + held * T(0.7071067811865476));
  // exp turns the rounding of x * x into a relative error: find it and put it right.
  const T square = held * held;
  const T error = math::product_error(held, held, square);
  const T power = math::exp(T(-0.5) * square);
  const T tail =
      T(0.5) * twice * erfc_polynomial(twice - T(1)) * (power - power * (T(0.5) * error));
  return x > T(0) ? T(1) - tail : tail;
}

}  // namespace math
}  // namespace gpubp
