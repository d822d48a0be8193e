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

}  // namespace gpubp
