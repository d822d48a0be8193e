// Products of float32 matrices to the precision of float32 by squares of bfloat16: each number is
// the sum of three bfloat16, x = high + middle + low, exactly, as each has 8 of its 24 bits.
//
//   a b = low high + middle high + middle middle + high middle + high low + high high
//
// for each 16 words, in this order. What is left out is less than 2^-23 of a product. The method is
// that of Henry, Tang and Heinecke, "Leveraging the bfloat16 artificial intelligence datatype for
// higher-precision computations" (2019).
//
// The numbers that a word pairs lie 16 apart along the inner dimension, which needs no shuffling.
// Beyond 3.38e38 numbers, and infinity, become NaN; below 1e-38 parts are zero, so that numbers
// below 1e-31 have fewer bits.
#pragma once
#include "squares.h"

namespace gpubp {

struct Float32Squares {
  static const int depth = 2, words_together = LANES, parts = 3;
  static const int tile_rows = 2 * LANES, tile_vectors = 2;
  static const bool packed = true, lines_of_a = true;
  // All that is packed at a time is a part of the second cache.
  static const int64 block_words = 16 * LANES, block_rows = 2 * tile_rows;
  static const int64 block_columns = 8 * tile_vectors * LANES;

  static const int products = 6;
  static constexpr int part_of_a(int product) {
    constexpr int parts_of_a[] = {2, 1, 1, 0, 0, 0};
    return parts_of_a[product];
  }
  static constexpr int part_of_b(int product) {
    constexpr int parts_of_b[] = {0, 0, 1, 1, 2, 0};
    return parts_of_b[product];
  }
};

// The words of two vectors: the first numbers of all words, and the second.
struct SplitWords {
  Vector parts[Float32Squares::parts];
};

#if defined(__AVX512F__)

// Round to 8 bits, ties away from zero.
inline __m512 rounded_to_8_bits(__m512 numbers) {
  const __m512i half = _mm512_set1_epi32(0x8000);
  const __m512i mask = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
  const __m512i bits = _mm512_add_epi32(_mm512_castps_si512(numbers), half);
  return _mm512_castsi512_ps(_mm512_and_si512(bits, mask));
}

inline Vector words_of_pairs(__m512 first, __m512 second) {
  const int first_or_second_and_mask = 0xf8;
  const __m512i mask = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
  return {_mm512_castsi512_ps(
      _mm512_ternarylogic_epi32(_mm512_srli_epi32(_mm512_castps_si512(first), 16),
                                _mm512_castps_si512(second), mask, first_or_second_and_mask))};
}

inline SplitWords split(const Vector& first, const Vector& second) {
  const __m512 high[] = {rounded_to_8_bits(first.numbers), rounded_to_8_bits(second.numbers)};
  const __m512 rest[] = {first.numbers - high[0], second.numbers - high[1]};
  const __m512 middle[] = {rounded_to_8_bits(rest[0]), rounded_to_8_bits(rest[1])};
  return {{words_of_pairs(high[0], high[1]), words_of_pairs(middle[0], middle[1]),
           words_of_pairs(rest[0] - middle[0], rest[1] - middle[1])}};
}

#else

inline float rounded_to_8_bits(float number) {
  return float_of((bits_of(number) + 0x8000u) & 0xffff0000u);
}

inline SplitWords split(const Vector& first, const Vector& second) {
  SplitWords found;
  for (int i = 0; i < LANES; ++i) {
    float one = first.numbers[i], two = second.numbers[i];
    for (int part = 0; part < Float32Squares::parts; ++part) {
      const bool last =
          part + 1 == Float32Squares::parts;  // what is left then has 8 bits, or is NaN
      const float high = last ? one : rounded_to_8_bits(one);
      const float other = last ? two : rounded_to_8_bits(two);
      found.parts[part].numbers[i] = float_of(bits_of(high) >> 16 | (bits_of(other) & 0xffff0000u));
      one -= high;
      two -= other;
    }
  }
  return found;
}

#endif

// Pack up to 32 numbers of up to 16 lines; WHOLE where there are as many.
template <int WIDTH, bool BY_LINE, bool SIDE_BY_SIDE, bool WHOLE>
void pack_split(const Lines& from, int64 lines, int64 inner, float* to) {
  // of all words the first numbers, and the second: of neighbouring lines, or along a line
  Vector first[LANES], second[LANES];
  GPUBP_UNROLL for (int i = 0; i < LANES; ++i) {
    const auto load = [&](int number) {
      if (SIDE_BY_SIDE)
        return Vector::load(from.at(0, number + i), WHOLE ? LANES : number + i < inner ? lines : 0);
      return Vector::load(from.at(i, number), WHOLE ? LANES : i < lines ? inner - number : 0);
    };
    first[i] = load(0);
    second[i] = load(LANES);
  }
  if (SIDE_BY_SIDE == BY_LINE) {
    transpose(first);
    transpose(second);
  }
  GPUBP_UNROLL for (int i = 0; i < LANES; ++i) {
    const SplitWords words = split(first[i], second[i]);
    GPUBP_UNROLL for (int part = 0; part < Float32Squares::parts; ++part) {
      words.parts[part].store(to + i * (BY_LINE ? LANES : WIDTH) + part * WIDTH * LANES, LANES);
    }
  }
}

template <>
struct Packing<Float32Squares> {
  template <int WIDTH, bool BY_LINE>
  static void pack(const Lines& from, int64 lines, int64 inner, float* to) {
    for (int line = 0; line < WIDTH; line += LANES, to += LANES * (BY_LINE ? LANES : 1)) {
      const bool whole = line + LANES <= lines && 2 * LANES <= inner;
      const auto split = from.across == 1 ? whole ? pack_split<WIDTH, BY_LINE, true, true>
                                                  : pack_split<WIDTH, BY_LINE, true, false>
                         : whole          ? pack_split<WIDTH, BY_LINE, false, true>
                                          : pack_split<WIDTH, BY_LINE, false, false>;
      split(from.from(line, 0), lines - line, inner, to);
    }
  }
};

template <>
inline AddTile tile_for<Float32Squares, true>(int64 rows, int64 columns) {
  return tile_of_squares<Float32Squares>(rows, columns);
}

}  // namespace gpubp
