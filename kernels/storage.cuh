// Numbers as they are stored, which may be narrower than those computed with: float16 (the class
// of CuPy, or of the host compiler) and bfloat16, the upper half of a float, as an unsigned short.
#pragma once
#include "math.cuh"
#ifndef __CUDACC_RTC__
#include <cstring>
#endif

namespace gpubp {

typedef unsigned short bfloat16;

GPUBP_HD float float_of(uint32 bits) {
#ifdef __CUDA_ARCH__
  return __uint_as_float(bits);
#else
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
#endif
}

GPUBP_HD uint32 bits_of(float value) {
#ifdef __CUDA_ARCH__
  return __float_as_uint(value);
#else
  uint32 bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
#endif
}

template <typename T, typename S>
GPUBP_HD T widen(S stored) {
  return T(stored);
}

template <typename T>
GPUBP_HD T widen(bfloat16 stored) {
  return T(float_of(uint32(stored) << 16));
}

template <typename T, typename S>
GPUBP_HD void narrow(T value, S& stored) {
  stored = S(value);
}

// Round to nearest, ties to even; a NaN stays one.
GPUBP_HD void narrow(float value, bfloat16& stored) {
  const uint32 bits = bits_of(value);
  const uint32 rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
  stored = bfloat16((value == value ? rounded : bits | 0x400000u) >> 16);
}

// What numbers stored as S are computed with: float for the 16-bit formats, else S itself.
template <typename S, int size = sizeof(S)>
struct Computed {
  typedef S type;
};

template <typename S>
struct Computed<S, 2> {
  typedef float type;
};

// A stored input, multiplied by `scale`, as a batch holds it.
template <typename X, typename S>
GPUBP_HD void gathered(X stored, double scale, S& out) {
  typedef typename Computed<S>::type T;
  narrow(T(widen<T>(stored) * T(scale)), out);
}

// a / b of numbers that are not negative. A GPU divides numbers of 64 bits in many more
// instructions than those of 32, in which most fit.
GPUBP_HD int64 quotient(int64 a, int64 b) {
  return (a | b) >> 32 ? a / b : int64(uint32(a) / uint32(b));
}

// Element i of a batch whose rows of x are `order[first]` and those that follow.
template <typename Array, typename Order, typename S>
GPUBP_HD void gather_element(const Array& x, const Order& order, int64 first, int64 columns,
                             double scale, int64 i, S& out) {
  const int64 row = quotient(i, columns);
  gathered(x[order[first + row] * columns + (i - row * columns)], scale, out);
}

}  // namespace gpubp
