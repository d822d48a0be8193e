// Mathematical functions under one name for the host compiler, nvcc and NVRTC.
//
// GPUBP_HD marks a function for host and device; it is empty under a host compiler. A function of
// gpubp that shares its name with one of <cmath> (tanh) must call gpubp::math:: explicitly.
#pragma once

#ifdef __CUDACC__
#define GPUBP_HD __host__ __device__ inline
#else
#define GPUBP_HD inline
#endif

#ifdef GPUBP_VECTOR_MATH  // the compiled kernels of the CPU
#include "host/vector_math.h"
#elif !defined(__CUDACC_RTC__)
#include <cmath>
#endif

namespace gpubp {

typedef long long int64;
typedef unsigned long long uint64;
typedef unsigned int uint32;

#ifndef GPUBP_VECTOR_MATH
namespace math {
#ifdef __CUDACC_RTC__
using ::cos;
using ::erfc;
using ::exp;
using ::expm1;
using ::fabs;
using ::fma;
using ::log;
using ::log1p;
using ::nan;
using ::sin;
using ::sqrt;
using ::tanh;
#else
using std::cos;
using std::erfc;
using std::exp;
using std::expm1;
using std::fabs;
using std::fma;
using std::log;
using std::log1p;
using std::nan;
using std::sin;
using std::sqrt;
using std::tanh;
#endif

// x y - product without rounding, for a product that is x y rounded.
template <typename T>
GPUBP_HD T product_error(T x, T y, T product) {
  return math::fma(x, y, -product);
}

// P(X <= x) for a standard normal X: erfc(a) / 2 with a = -x / sqrt(2), which keeps the relative
// accuracy where erf would cancel. There the rounding of a counts 2 a^2 times in the result: with
// sqrt(1/2) in two parts, find it and put it right by erfc'(a) / erfc(a), all but -2 a for large a.
template <typename T>
GPUBP_HD T normal_cdf(T x) {
  const T high = T(0.7071067811865476);
  const T low = T((0.7071067811865476 - high) - 4.833646656726457e-17);
  const T held = x < T(-40) ? T(-40) : x;  // below, zero in either precision
  const T a = -held * high;
  const T error = math::product_error(held, high, -a) + held * low;
  const T half = T(0.5) * math::erfc(a);
  return a > T(0) ? half + half * (T(2) * a * error) : half;
}
}  // namespace math
#endif

// Return `value`, or `probe` where that is NaN: comparisons alone would swallow a NaN.
template <typename T>
GPUBP_HD T keep_nan(T probe, T value) {
  return probe == probe ? value : probe;
}

}  // namespace gpubp
