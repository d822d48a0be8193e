// Products of float32 matrices in bfloat16 by the instructions of AMX, which multiply squares: 16
// lines of 16 words with 16 words of 16 lines, by one instruction.
//
// A square is summed up on its own, the first numbers of its pairs apart from the second ones:
//
//   for each 16 pairs (i, j) of the inner dimension:
//     s = 0, t = 0; for each pair: s = round(s + a[i] b[i]); t = round(t + a[j] b[j])
//     c = round(c + round(s + t))
//
// By the processor's instructions where GPUBP_AMX is defined, else in plain C++ that rounds as they
// do, for tests on any machine. Numbers below the smallest normal one are taken as zero, as in
// bfloat16_product.h (Intel, Instruction Set Extensions Programming Reference: TDPBF16PS).
#pragma once
#include "bfloat16_product.h"

namespace gpubp {

// Packed as Bfloat16 is, but that the words of a lie line by line, and only whole squares are.
struct Bfloat16Squares : Bfloat16 {
  static const int tile_rows = 2 * LANES, tile_vectors = 2, words_together = LANES;
  static const bool lines_of_a = true;
  static const int64 block_rows = 8 * tile_rows;
};

const int SQUARE = LANES * LANES;  // words

#ifdef GPUBP_AMX

// The registers of squares of a thread, which must say their size first.
class Squares {
 public:
  Squares() {
    struct {
      unsigned char palette, start, reserved[14];
      unsigned short bytes_a_row[16];
      unsigned char rows[16];
    } sizes;
    static_assert(sizeof sizes == 64, "as the instruction reads it");
    std::memset(&sizes, 0, sizeof sizes);
    sizes.palette = 1;
    for (int number = 0; number < 8; ++number) {
      sizes.bytes_a_row[number] = 64;
      sizes.rows[number] = 16;
    }
    _tile_loadconfig(&sizes);
  }
  ~Squares() { _tile_release(); }  // otherwise they are saved whenever the thread is switched
};

// Take up so many words of up to two squares of lines of a, and as many of b. `sums` are those of
// all squares of c, row by row, rows `stride` apart; they begin at 0 or where they stand.
template <int DOWN, int ACROSS>
void add_squares(const float* a, const float* b, int64 words, float* sums, int64 stride,
                 bool begin) {
  const int64 of_a = LANES * sizeof(float), of_b = 2 * of_a, of_c = stride * sizeof(float);
  float* below = sums + LANES * stride;
  if (begin) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  } else {
    _tile_loadd(0, sums, of_c);
    if (ACROSS > 1) _tile_loadd(1, sums + LANES, of_c);
    if (DOWN > 1) _tile_loadd(2, below, of_c);
    if (DOWN > 1 && ACROSS > 1) _tile_loadd(3, below + LANES, of_c);
  }
  for (int64 done = 0; done < words; done += LANES, a += 2 * SQUARE, b += 2 * SQUARE) {
    _tile_loadd(4, a, of_a);
    _tile_loadd(6, b, of_b);
    _tile_dpbf16ps(0, 4, 6);
    if (ACROSS > 1) _tile_loadd(7, b + LANES, of_b);
    if (ACROSS > 1) _tile_dpbf16ps(1, 4, 7);
    if (DOWN > 1) _tile_loadd(5, a + SQUARE, of_a);
    if (DOWN > 1) _tile_dpbf16ps(2, 5, 6);
    if (DOWN > 1 && ACROSS > 1) _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, sums, of_c);
  if (ACROSS > 1) _tile_stored(1, sums + LANES, of_c);
  if (DOWN > 1) _tile_stored(2, below, of_c);
  if (DOWN > 1 && ACROSS > 1) _tile_stored(3, below + LANES, of_c);
}

#else

struct Squares {
  Squares() {}  // so that a variable of it counts as used
};

template <int DOWN, int ACROSS>
void add_squares(const float* a, const float* b, int64 words, float* sums, int64 stride,
                 bool begin) {
  for (int row = 0; row < DOWN * LANES; ++row)
    for (int column = 0; column < ACROSS * LANES; ++column) {
      float& sum = sums[row * stride + column];
      if (begin) sum = 0;
      for (int64 done = 0; done < words; done += LANES) {
        float first = 0, second = 0;
        for (int64 word = done; word < done + LANES; ++word) {
          const uint32 x = bits_of(a[done * 2 * LANES + row * LANES + word - done]);
          const uint32 y = bits_of(b[word * 2 * LANES + column]);
          first = flushed(first + float_of(x << 16) * float_of(y << 16));
          second = flushed(second + float_of(x & 0xffff0000u) * float_of(y & 0xffff0000u));
        }
        sum = flushed(sum + flushed(first + second));
      }
    }
}

#endif

// A tile of c of up to 32 rows and columns. What lies beside it is not touched: where squares would
// reach beyond, or sums have yet to be scaled, they lie in a room of their own.
template <int DOWN, int ACROSS>
void add_tile_of_squares(const Words& a, const Words& b, int64 words, const Tile& tile) {
  const int64 height = DOWN * LANES, width = ACROSS * LANES;
  for (int64 row = height; row < 2 * height; ++row)
    for (int64 v = 0; v < ACROSS; ++v)  // what the tile below needs of c
      prefetch(tile.c + row * tile.stride + v * LANES);
  if (tile.rows == height && tile.columns == width && tile.scale == 1)
    return add_squares<DOWN, ACROSS>(a.data, b.data, words, tile.c, tile.stride, tile.begin);
  alignas(64) float sums[height][width];
  const auto at = [&](int64 row, int64 v) { return tile.c + row * tile.stride + v * LANES; };
  const auto left = [&](int64 v) { return tile.columns - v * LANES; };
  for (int64 row = 0; row < height && !tile.begin; ++row)
    for (int64 v = 0; v < ACROSS; ++v)
      Vector::load(at(row, v), row < tile.rows ? left(v) : 0).store(sums[row] + v * LANES, LANES);
  add_squares<DOWN, ACROSS>(a.data, b.data, words, sums[0], width, tile.begin);
  for (int64 row = 0; row < tile.rows; ++row)
    for (int64 v = 0; v < ACROSS; ++v)
      Vector::load(sums[row] + v * LANES, LANES).times(tile.scale).store(at(row, v), left(v));
}

template <>
inline AddTile tile_for<Bfloat16Squares, true>(int64 rows, int64 columns) {
  static const AddTile tiles[2][2] = {{add_tile_of_squares<1, 1>, add_tile_of_squares<1, 2>},
                                      {add_tile_of_squares<2, 1>, add_tile_of_squares<2, 2>}};
  return tiles[rows > LANES][columns > LANES];
}

// As `bfloat16_product`, by squares.
inline void bfloat16_squares_product(int, int transpose_a, int transpose_b, std::int64_t m,
                                     std::int64_t n, std::int64_t k, float scale, const float* a,
                                     std::int64_t lda, const float* b, std::int64_t ldb, float,
                                     float* c, std::int64_t ldc) {
  const Squares squares;
  called_product<Bfloat16Squares>(transpose_a, transpose_b, m, n, k, scale, a, lda, b, ldb, c, ldc);
}

}  // namespace gpubp
