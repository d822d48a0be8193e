// Products of float32 matrices in bfloat16 by squares; a word is a pair of neighbours along the
// inner dimension, rounded to the nearest, ties to even.
#pragma once
#include "bfloat16_product.h"
#include "squares.h"

namespace gpubp {

// Packed as Bfloat16 is, but that the words of a lie line by line, and only whole squares are.
struct Bfloat16Squares : Bfloat16 {
  static const int tile_rows = 2 * LANES, tile_vectors = 2, words_together = LANES;
  static const bool lines_of_a = true;
  static const int64 block_words = 12 * LANES, block_rows = 4 * tile_rows;
  static const int64 block_columns = 32 * tile_vectors * LANES;

  static const int products = 1;
  static constexpr int part_of_a(int) { return 0; }
  static constexpr int part_of_b(int) { return 0; }
};

template <>
inline AddTile tile_for<Bfloat16Squares, true>(int64 rows, int64 columns) {
  return tile_of_squares<Bfloat16Squares>(rows, columns);
}

}  // namespace gpubp
