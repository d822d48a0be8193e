// Sixteen float32 numbers side by side: a register of AVX-512, or an array in plain C++, for tests
// on any machine.
#pragma once
#include <algorithm>
#include <cmath>

#include "../math.cuh"
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#if defined(__clang__)
#define GPUBP_UNROLL _Pragma("unroll")
#elif defined(__GNUC__)
#define GPUBP_UNROLL _Pragma("GCC unroll 16")
#else
#define GPUBP_UNROLL
#endif

namespace gpubp {

const int LANES = 16;

#if defined(__AVX512F__)

struct Vector {
  __m512 numbers;

  static __mmask16 first(int64 wanted) {
    return wanted < LANES ? static_cast<__mmask16>((1 << std::max<int64>(wanted, 0)) - 1) : 0xffff;
  }
  static Vector zero() { return {_mm512_setzero_ps()}; }
  // Read the first `wanted` numbers; the others are 0.
  static Vector load(const float* from, int64 wanted) {
    return {_mm512_maskz_loadu_ps(first(wanted), from)};
  }
  // Write the first `wanted` numbers.
  void store(float* to, int64 wanted) const { _mm512_mask_storeu_ps(to, first(wanted), numbers); }
  Vector times(float factor) const { return {_mm512_mul_ps(numbers, _mm512_set1_ps(factor))}; }
  // Add a product to each number, rounded once.
  void add_product(float a, Vector b) {
    numbers = _mm512_fmadd_ps(_mm512_set1_ps(a), b.numbers, numbers);
  }
  // Of each two groups of `size` neighbours, exchange the second of `a` with the first of `b`.
  static void exchange(Vector& a, Vector& b, int size) {
    const __m512i numbered = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i other = _mm512_xor_si512(numbered, _mm512_set1_epi32(size));
    const int second = 0xffff / ((1 << size) + 1) << size;
    const __m512 before = a.numbers;
    a.numbers =
        _mm512_mask_permutexvar_ps(a.numbers, static_cast<__mmask16>(second), other, b.numbers);
    b.numbers =
        _mm512_mask_permutexvar_ps(b.numbers, static_cast<__mmask16>(~second), other, before);
  }
};

#else

struct Vector {
  float numbers[LANES];

  static Vector zero() { return {}; }
  static Vector load(const float* from, int64 wanted) {
    Vector found;
    for (int i = 0; i < LANES; ++i) found.numbers[i] = i < wanted ? from[i] : 0;
    return found;
  }
  void store(float* to, int64 wanted) const {
    for (int i = 0; i < LANES && i < wanted; ++i) to[i] = numbers[i];
  }
  Vector times(float factor) const {
    Vector found;
    for (int i = 0; i < LANES; ++i) found.numbers[i] = numbers[i] * factor;
    return found;
  }
  void add_product(float a, Vector b) {
    for (int i = 0; i < LANES; ++i) numbers[i] = std::fma(a, b.numbers[i], numbers[i]);
  }
  static void exchange(Vector& a, Vector& b, int size) {
    for (int i = 0; i < LANES; ++i)
      if (i & size) std::swap(a.numbers[i], b.numbers[i - size]);
  }
};

#endif

// Ask for what will be read or written soon; any address will do.
inline void prefetch(const float* at) {
#if defined(__AVX512F__)
  _mm_prefetch(reinterpret_cast<const char*>(at), _MM_HINT_T0);
#else
  (void)at;
#endif
}

// Make rows of a square of numbers its columns.
inline void transpose(Vector (&square)[LANES]) {
  GPUBP_UNROLL for (int size = LANES / 2; size > 0; size /= 2) {
    GPUBP_UNROLL for (int i = 0; i < LANES; ++i) {
      if (!(i & size)) Vector::exchange(square[i], square[i + size], size);
    }
  }
}

}  // namespace gpubp
