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
using ::erf;
using ::erfc;
using ::exp;
using ::expm1;
using ::fabs;
using ::log;
using ::log1p;
using ::sin;
using ::sqrt;
using ::tanh;
#else
using std::cos;
using std::erf;
using std::erfc;
using std::exp;
using std::expm1;
using std::fabs;
using std::log;
using std::log1p;
using std::sin;
using std::sqrt;
using std::tanh;
#endif
}  // namespace math
#endif

// Return `value`, or `probe` where that is NaN: comparisons alone would swallow a NaN.
template <typename T>
GPUBP_HD T keep_nan(T probe, T value) {
  return probe == probe ? value : probe;
}

}  // namespace gpubp
