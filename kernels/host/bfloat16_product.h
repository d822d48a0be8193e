// Products of float32 matrices whose numbers are rounded to bfloat16 as they are packed, with sums
// in float32: c = scale a b.
//
// A word is a pair of neighbours along the inner dimension. A tile takes up the second of a pair
// first, as the instruction vdpbf16ps does:
//
//   c = 0; for k = 0, 2, 4, ...: c = round(c + a[k + 1] b[k + 1]); c = round(c + a[k] b[k])
//
// By the instructions of AVX512-BF16 where GPUBP_AVX512BF16 is defined (MSVC has no macro of its
// own for them), else in plain C++ that rounds as they do, for tests on any machine. Both round to
// the nearest bfloat16, ties to even, and take numbers below the smallest normal one (1e-38) as
// zero, as products' operands and as sums, whatever the thread has set for others (Intel,
// Instruction Set Extensions Programming Reference: VCVTNE2PS2BF16, VDPBF16PS).
#pragma once
#include "../storage.cuh"
#include "flush_subnormals.h"
#include "tiled_product.h"

namespace gpubp {

struct Bfloat16 {
  static const int depth = 2, words_together = 1, parts = 1, tile_rows = 12, tile_vectors = 2;
  static const bool packed = true, lines_of_a = false;
  // What is packed of a stays in the second cache, and much of what is packed of b.
  static const int64 block_words = 512, block_rows = 10 * tile_rows;
  static const int64 block_columns = 16 * tile_vectors * LANES;

  static Vector along(const float* from, int64 left);
  static Vector across(const Lines& from, int64 lines, int64 left);
  static void add(Vector& sums, float word, const Vector& words);
};

#ifdef GPUBP_AVX512BF16

// The same 64 bytes as a vector of another type.
template <typename To, typename From>
To as(From vector) {
  static_assert(sizeof(To) == sizeof(From), "both are of 64 bytes");
  To found;
  std::memcpy(&found, &vector, sizeof found);
  return found;
}

inline Vector Bfloat16::along(const float* from, int64 left) {
  const Vector low = Vector::load(from, left), high = Vector::load(from + LANES, left - LANES);
  return {as<__m512>(_mm512_cvtne2ps_pbh(high.numbers, low.numbers))};
}

inline Vector Bfloat16::across(const Lines& from, int64 lines, int64 left) {
  const Vector even = Vector::load(from.data, left > 0 ? lines : 0);
  const Vector odd = Vector::load(from.at(0, 1), left > 1 ? lines : 0);
  const __m512i places =
      _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                       21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  const __m512i halves = as<__m512i>(_mm512_cvtne2ps_pbh(odd.numbers, even.numbers));
  return {as<__m512>(_mm512_permutexvar_epi16(places, halves))};
}

inline void Bfloat16::add(Vector& sums, float word, const Vector& words) {
  const __m512 both = _mm512_set1_ps(word);
  sums.numbers = _mm512_dpbf16_ps(sums.numbers, as<__m512bh>(both), as<__m512bh>(words.numbers));
}

#else

inline float pair_of(float first, float second) {
  bfloat16 low, high;
  narrow(flushed(first), low);
  narrow(flushed(second), high);
  return float_of(low | static_cast<uint32>(high) << 16);
}

inline Vector Bfloat16::along(const float* from, int64 left) {
  Vector found = Vector::zero();
  for (int64 i = 0; i < LANES && 2 * i < left; ++i)
    found.numbers[i] = pair_of(from[2 * i], 2 * i + 1 < left ? from[2 * i + 1] : 0);
  return found;
}

inline Vector Bfloat16::across(const Lines& from, int64 lines, int64 left) {
  Vector found = Vector::zero();
  for (int64 i = 0; i < LANES && i < lines && left > 0; ++i)
    found.numbers[i] = pair_of(*from.at(i, 0), left > 1 ? *from.at(i, 1) : 0);
  return found;
}

inline void Bfloat16::add(Vector& sums, float word, const Vector& words) {
  const uint32 a = bits_of(word);
  for (int i = 0; i < LANES; ++i) {
    const uint32 b = bits_of(words.numbers[i]);
    const float second = float_of(a & 0xffff0000u) * float_of(b & 0xffff0000u);
    const float sum = flushed(sums.numbers[i] + second);
    sums.numbers[i] = flushed(sum + float_of(a << 16) * float_of(b << 16));
  }
}

#endif

// c = scale a b, m x n, by the caller's thread alone. It is called as cblas_sgemm is, with integers
// of 64 bits: always row by row, and what c held is not read, so that `order` and `beta` say
// nothing.
inline void bfloat16_product(int, int transpose_a, int transpose_b, std::int64_t m, std::int64_t n,
                             std::int64_t k, float scale, const float* a, std::int64_t lda,
                             const float* b, std::int64_t ldb, float, float* c, std::int64_t ldc) {
  called_product<Bfloat16>(transpose_a, transpose_b, m, n, k, scale, a, lda, b, ldb, c, ldc);
}

}  // namespace gpubp
