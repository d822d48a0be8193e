// Products of matrices by the instructions of AMX, which multiply squares of pairs of bfloat16: 16
// lines of 16 words with 16 words of 16 lines, by one instruction.
//
// A square is summed up on its own, the first numbers of its words apart from the second ones:
//
//   for each 16 words (i, j) of the inner dimension:
//     s = 0, t = 0; for each word: s = round(s + a[i] b[i]); t = round(t + a[j] b[j])
//     c = round(c + round(s + t))
//
// By the processor's instructions where GPUBP_AMX is defined, else in plain C++ that rounds as they
// do, for tests on any machine. Numbers below the smallest normal one are taken as zero, as in
// bfloat16_product.h (Intel, Instruction Set Extensions Programming Reference: TDPBF16PS).
//
// A format of squares says, besides what tiled_product.h names, of how many squares it makes one
// product of 16 words, and which parts of a and of b each of them multiplies:
//   products, part_of_a(product), part_of_b(product)
#pragma once
#include "../storage.cuh"
#include "flush_subnormals.h"
#include "packed_product.h"
#include "tiled_product.h"

namespace gpubp {

const int SQUARE = LANES * LANES;  // words

#ifdef GPUBP_AMX

// The size of a square for each of the eight registers, as the instruction reads it.
struct SquareSizes {
  unsigned char palette, start, reserved[14];
  unsigned short bytes_a_row[16];
  unsigned char rows[16];
};
static_assert(sizeof(SquareSizes) == 64, "as the instruction reads it");

// The registers of squares of a thread, which must say their size first.
class Squares {
 public:
  Squares() {
    // A constant in memory: GCC believes that the instruction reads 8 bytes, and leaves out what is
    // written to the others just before it.
    static const SquareSizes sizes = {
        1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};
    _tile_loadconfig(&sizes);
  }
  ~Squares() { _tile_release(); }  // otherwise they are saved whenever the thread is switched
};

const int64 BYTES_A_LINE = LANES * sizeof(float);

template <int DOWN>
void load_lines_of_a(const float* a) {
  _tile_loadd(4, a, BYTES_A_LINE);
  if (DOWN > 1) _tile_loadd(5, a + SQUARE, BYTES_A_LINE);
}

template <int ACROSS>
void load_lines_of_b(const float* b) {
  _tile_loadd(6, b, 2 * BYTES_A_LINE);
  if (ACROSS > 1) _tile_loadd(7, b + LANES, 2 * BYTES_A_LINE);
}

template <int DOWN, int ACROSS>
void multiply_squares() {
  _tile_dpbf16ps(0, 4, 6);
  if (ACROSS > 1) _tile_dpbf16ps(1, 4, 7);
  if (DOWN > 1) _tile_dpbf16ps(2, 5, 6);
  if (DOWN > 1 && ACROSS > 1) _tile_dpbf16ps(3, 5, 7);
}

// Take up so many words of up to two squares of lines of a, and as many of b. `sums` are those of
// all squares of c, row by row, rows `stride` apart; they begin at 0 or where they stand.
template <class Format, int DOWN, int ACROSS>
void add_squares(const float* a, const float* b, int64 words, float* sums, int64 stride,
                 bool begin) {
  const int64 of_c = stride * sizeof(float), group = 2 * SQUARE * Format::parts;
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
  for (int64 done = 0; done < words; done += LANES, a += group, b += group) {
    GPUBP_UNROLL for (int product = 0; product < Format::products; ++product) {
      const int before = product - 1, of_a = Format::part_of_a(product);
      const int of_b = Format::part_of_b(product);
      if (before < 0 || of_a != Format::part_of_a(before))
        load_lines_of_a<DOWN>(a + of_a * 2 * SQUARE);
      if (before < 0 || of_b != Format::part_of_b(before))
        load_lines_of_b<ACROSS>(b + of_b * 2 * SQUARE);
      multiply_squares<DOWN, ACROSS>();
    }
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

// Both numbers of a word.
inline float first_of(uint32 word) { return flushed(float_of(word << 16)); }
inline float second_of(uint32 word) { return flushed(float_of(word & 0xffff0000u)); }

template <class Format, int DOWN, int ACROSS>
void add_squares(const float* a, const float* b, int64 words, float* sums, int64 stride,
                 bool begin) {
  const int64 group = 2 * SQUARE * Format::parts;
  for (int row = 0; row < DOWN * LANES; ++row)
    for (int column = 0; column < ACROSS * LANES; ++column) {
      float& sum = sums[row * stride + column];
      if (begin) sum = 0;
      for (int64 at = 0; at < words / LANES * group; at += group)
        for (int product = 0; product < Format::products; ++product) {
          const float* line = a + at + Format::part_of_a(product) * 2 * SQUARE + row * LANES;
          const float* lines = b + at + Format::part_of_b(product) * 2 * SQUARE + column;
          float first = 0, second = 0;
          for (int word = 0; word < LANES; ++word) {
            const uint32 x = bits_of(line[word]), y = bits_of(lines[word * 2 * LANES]);
            first = flushed(first + first_of(x) * first_of(y));
            second = flushed(second + second_of(x) * second_of(y));
          }
          sum = flushed(sum + flushed(first + second));
        }
    }
}

#endif

// A tile of c of up to 32 rows and columns. What lies beside it is not touched: where squares would
// reach beyond, or sums have yet to be scaled, they lie in a room of their own.
template <class Format, int DOWN, int ACROSS>
void add_tile_of_squares(const Words& a, const Words& b, int64 words, const Tile& tile) {
  const int64 height = DOWN * LANES, width = ACROSS * LANES;
  for (int64 row = height; !tile.begin && row < 2 * height; ++row)
    for (int64 v = 0; v < ACROSS; ++v)  // what the tile below needs of c
      prefetch(tile.c + row * tile.stride + v * LANES);
  if (tile.rows == height && tile.columns == width && tile.scale == 1)
    return add_squares<Format, DOWN, ACROSS>(a.data, b.data, words, tile.c, tile.stride,
                                             tile.begin);
  alignas(64) float sums[height][width];
  const auto at = [&](int64 row, int64 v) { return tile.c + row * tile.stride + v * LANES; };
  const auto left = [&](int64 v) { return tile.columns - v * LANES; };
  for (int64 row = 0; row < height && !tile.begin; ++row)
    for (int64 v = 0; v < ACROSS; ++v)
      Vector::load(at(row, v), row < tile.rows ? left(v) : 0).store(sums[row] + v * LANES, LANES);
  add_squares<Format, DOWN, ACROSS>(a.data, b.data, words, sums[0], width, tile.begin);
  for (int64 row = 0; row < tile.rows; ++row)
    for (int64 v = 0; v < ACROSS; ++v)
      Vector::load(sums[row] + v * LANES, LANES).times(tile.scale).store(at(row, v), left(v));
}

// Return the function for a tile of so many rows and columns.
template <class Format>
AddTile tile_of_squares(int64 rows, int64 columns) {
  static const AddTile tiles[2][2] = {
      {add_tile_of_squares<Format, 1, 1>, add_tile_of_squares<Format, 1, 2>},
      {add_tile_of_squares<Format, 2, 1>, add_tile_of_squares<Format, 2, 2>}};
  return tiles[rows > LANES][columns > LANES];
}

// c = scale a b in a format of squares, called as `bfloat16_product` is.
template <class Format>
void squares_product(int, int transpose_a, int transpose_b, std::int64_t m, std::int64_t n,
                     std::int64_t k, float scale, const float* a, std::int64_t lda, const float* b,
                     std::int64_t ldb, float, float* c, std::int64_t ldc) {
  const Squares squares;
  called_product<Format>(transpose_a, transpose_b, m, n, k, scale, a, lda, b, ldb, c, ldc);
}

// The same with b packed beforehand.
template <class Format>
void pack_for_squares(bool transpose_b, std::int64_t columns, std::int64_t k, const float* b,
                      std::int64_t ldb, float* packed) {
  pack_lines<Format, Format::tile_vectors * LANES, false>(lines_of(b, ldb, !transpose_b), columns,
                                                          k, packed);
}
template <class Format>
void squares_product_of_packed(std::int64_t m, std::int64_t n, std::int64_t k, float scale,
                               const float* a, std::int64_t lda, const float* packed, float* c,
                               std::int64_t ldc) {
  const Squares squares;
  product_of_packed<Format>(lines_of(a, lda, false), packed, m, n, k, scale, c, ldc);
}
template <class Format>
PackedProduct packed_squares() {
  return {packed_size<Format>, pack_for_squares<Format>, squares_product_of_packed<Format>};
}

}  // namespace gpubp
