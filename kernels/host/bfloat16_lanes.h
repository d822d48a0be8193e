// Sixteen float32 numbers side by side, and what bfloat16 products do with them: by the
// instructions of AVX512-BF16 where GPUBP_AVX512BF16 is defined (MSVC has no macro of its own for
// them), else in plain C++ that rounds as they do, for tests on any machine.
//
// Both round to the nearest bfloat16, ties to even, and take numbers below the smallest normal one
// (1e-38) as zero, as products' operands and as sums, whatever the thread has set for others
// (Intel, Instruction Set Extensions Programming Reference: VCVTNE2PS2BF16, VDPBF16PS).
#pragma once
#include <algorithm>

#include "../storage.cuh"
#ifdef GPUBP_AVX512BF16
#include <immintrin.h>
#endif

namespace gpubp {

// Two neighbours in bfloat16, the first in the lower half.
typedef uint32 Pair;

#ifdef GPUBP_AVX512BF16

// The same 64 bytes as a vector of another type.
template <typename To, typename From>
To as(From vector) {
  static_assert(sizeof(To) == sizeof(From), "both are of 64 bytes");
  To found;
  std::memcpy(&found, &vector, sizeof found);
  return found;
}

struct Lanes {
  static const int count = 16;
  __m512 numbers;

  static __mmask16 first(int64 wanted) {
    return wanted < count ? static_cast<__mmask16>((1 << std::max<int64>(wanted, 0)) - 1) : 0xffff;
  }
  static Lanes zero() { return {_mm512_setzero_ps()}; }
  // Ask for what will be read or written soon; any address will do.
  static void prefetch(const float* at) {
    _mm_prefetch(reinterpret_cast<const char*>(at), _MM_HINT_T0);
  }
  // Read the first `wanted` numbers; the others are 0.
  static Lanes load(const float* from, int64 wanted) {
    return {_mm512_maskz_loadu_ps(first(wanted), from)};
  }
  // Write the first `wanted` numbers.
  void store(float* to, int64 wanted) const { _mm512_mask_storeu_ps(to, first(wanted), numbers); }
  Lanes times(float factor) const { return {_mm512_mul_ps(numbers, _mm512_set1_ps(factor))}; }
  // Add to each number the products of `a` with a pair of its own, the second first.
  void add_products(Pair a, const Pair* b) {
    const __m512i both = _mm512_set1_epi32(static_cast<int>(a)), own = _mm512_loadu_si512(b);
    numbers = _mm512_dpbf16_ps(numbers, as<__m512bh>(both), as<__m512bh>(own));
  }
};

// Write the first `width` pairs, of which each is a number of `even` and one of `odd`.
inline void store_pairs(Lanes even, Lanes odd, Pair* to, int width) {
  const __m512i places =
      _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                       21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  const __m512i halves = as<__m512i>(_mm512_cvtne2ps_pbh(odd.numbers, even.numbers));
  _mm512_mask_storeu_epi32(to, Lanes::first(width), _mm512_permutexvar_epi16(places, halves));
}

// Write 16 pairs of neighbours: first those within `low`, then those within `high`.
inline void store_neighbours(Lanes low, Lanes high, Pair* to) {
  _mm512_storeu_si512(to, as<__m512i>(_mm512_cvtne2ps_pbh(high.numbers, low.numbers)));
}

#else

inline float flushed(float value) {
  const float smallest = 1.17549435e-38f;
  return value > -smallest && value < smallest ? 0 : value;
}

inline Pair pair_of(float first, float second) {
  bfloat16 low, high;
  narrow(flushed(first), low);
  narrow(flushed(second), high);
  return low | static_cast<Pair>(high) << 16;
}

struct Lanes {
  static const int count = 16;
  float numbers[count];

  static Lanes zero() { return {}; }
  static void prefetch(const float*) {}
  static Lanes load(const float* from, int64 wanted) {
    Lanes found;
    for (int i = 0; i < count; ++i) found.numbers[i] = i < wanted ? from[i] : 0;
    return found;
  }
  void store(float* to, int64 wanted) const {
    for (int i = 0; i < count && i < wanted; ++i) to[i] = numbers[i];
  }
  Lanes times(float factor) const {
    Lanes found;
    for (int i = 0; i < count; ++i) found.numbers[i] = numbers[i] * factor;
    return found;
  }
  void add_products(Pair a, const Pair* b) {
    for (int i = 0; i < count; ++i) {
      const float second = float_of(a & 0xffff0000u) * float_of(b[i] & 0xffff0000u);
      numbers[i] = flushed(numbers[i] + second);
      numbers[i] = flushed(numbers[i] + float_of(a << 16) * float_of(b[i] << 16));
    }
  }
};

inline void store_pairs(Lanes even, Lanes odd, Pair* to, int width) {
  for (int i = 0; i < 16 && i < width; ++i) to[i] = pair_of(even.numbers[i], odd.numbers[i]);
}

inline void store_neighbours(Lanes low, Lanes high, Pair* to) {
  for (int i = 0; i < 8; ++i) {
    to[i] = pair_of(low.numbers[2 * i], low.numbers[2 * i + 1]);
    to[i + 8] = pair_of(high.numbers[2 * i], high.numbers[2 * i + 1]);
  }
}

#endif

}  // namespace gpubp
