// Products of float32 matrices whose numbers are rounded to bfloat16 as they are packed, with sums
// in float32: c = scale a b.
//
// Both matrices are packed in panels of a few *lines*, rows of a or columns of b: for each pair of
// neighbours along the inner dimension, the pair of every line. A tile of c stays in registers and
// takes up one pair after the other, the second of a pair first, as the instruction vdpbf16ps does.
// So every number of c is one sum in one order, whatever the blocks and the threads:
//
//   c = 0; for k = 0, 2, 4, ...: c = round(c + a[k + 1] b[k + 1]); c = round(c + a[k] b[k])
#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>

#include "bfloat16_lanes.h"

#if defined(__clang__)
#define GPUBP_UNROLL _Pragma("unroll")
#elif defined(__GNUC__)
#define GPUBP_UNROLL _Pragma("GCC unroll 16")
#else
#define GPUBP_UNROLL
#endif

namespace gpubp {

const int LANES = Lanes::count;
const int TILE_ROWS = 12, TILE_VECTORS = 2, TILE_COLUMNS = TILE_VECTORS * LANES;
// Of a block: pairs of the inner dimension, so that a panel of b stays in the first cache, and rows
// and columns, so that all of it stays in the second.
const int64 BLOCK_PAIRS = 256, BLOCK_ROWS = 20 * TILE_ROWS, BLOCK_COLUMNS = 32 * TILE_COLUMNS;

// A matrix of float32 seen as lines: neighbours along a line, and neighbouring lines, so far apart.
struct Lines {
  const float* data;
  int64 along, across;
  const float* at(int64 line, int64 place) const { return data + line * across + place * along; }
  Lines from(int64 line, int64 place) const { return {at(line, place), along, across}; }
};

// Pack `inner` numbers of up to WIDTH lines; the others, and a last number without another, are 0.
template <int WIDTH>
void pack_panel(const Lines& from, int64 lines, int64 inner, Pair* to) {
  if (from.across == 1) {  // lines lie side by side
    for (int64 k = 0; k < inner; k += 2, to += WIDTH)
      for (int line = 0; line < WIDTH; line += LANES) {
        const int64 left = lines - line;
        const Lanes even = Lanes::load(from.at(line, k), left);
        const Lanes odd = Lanes::load(from.at(line, k + 1), k + 1 < inner ? left : 0);
        store_pairs(even, odd, to + line, WIDTH - line);
      }
    return;
  }
  for (int64 k = 0; k < inner; k += 2 * LANES) {  // a line lies in one piece
    Pair found[WIDTH][LANES];
    for (int line = 0; line < WIDTH; ++line) {
      const int64 left = line < lines ? inner - k : 0;
      store_neighbours(Lanes::load(from.at(line, k), left),
                       Lanes::load(from.at(line, k + LANES), left - LANES), found[line]);
    }
    const int64 pairs = std::min<int64>(LANES, (inner - k + 1) / 2);
    for (int64 pair = 0; pair < pairs; ++pair, to += WIDTH)
      for (int line = 0; line < WIDTH; ++line) to[line] = found[line][pair];
  }
}

// Pack all lines, panel after panel.
template <int WIDTH>
void pack(const Lines& from, int64 lines, int64 inner, Pair* to) {
  for (int64 line = 0; line < lines; line += WIDTH, to += WIDTH * ((inner + 1) / 2))
    pack_panel<WIDTH>(from.from(line, 0), std::min<int64>(WIDTH, lines - line), inner, to);
}

// A tile of c: take up the pairs of a panel of a and of one of b. The sums begin at 0 or where c
// stands; `scale` is for when they are complete. What the tile below needs of c is fetched already.
template <int VECTORS>
void add_tile(const Pair* a, const Pair* b, int64 pairs, float* c, int64 stride, int64 rows,
              int64 columns, bool begin, float scale) {
  const auto at = [=](int row, int v) { return c + row * stride + v * LANES; };
  Lanes sums[TILE_ROWS][VECTORS];
  GPUBP_UNROLL for (int row = 0; row < TILE_ROWS; ++row) for (int v = 0; v < VECTORS; ++v) {
    Lanes::prefetch(at(row + TILE_ROWS, v));
    sums[row][v] =
        begin || row >= rows ? Lanes::zero() : Lanes::load(at(row, v), columns - v * LANES);
  }
  for (int64 pair = 0; pair < pairs; ++pair, a += TILE_ROWS, b += TILE_COLUMNS)
    GPUBP_UNROLL for (int row = 0; row < TILE_ROWS; ++row) for (int v = 0; v < VECTORS; ++v) {
      sums[row][v].add_products(a[row], b + v * LANES);
    }
  GPUBP_UNROLL for (int row = 0; row < TILE_ROWS; ++row) for (int v = 0; v < VECTORS; ++v) {
    if (row < rows) sums[row][v].times(scale).store(at(row, v), columns - v * LANES);
  }
}

// Memory of this thread for the packed panels of one block.
inline Pair* packing_room() {
  const int64 line = 64, pairs = (BLOCK_ROWS + BLOCK_COLUMNS) * BLOCK_PAIRS;
  static thread_local std::unique_ptr<char[]> room;
  if (!room) room.reset(new char[static_cast<size_t>(pairs * int64(sizeof(Pair)) + line)]);
  return reinterpret_cast<Pair*>(room.get() + line -
                                 reinterpret_cast<std::uintptr_t>(room.get()) % line);
}

// Multiply packed panels: all rows of c that they have, and all columns.
inline void add_block(const Pair* a, const Pair* b, int64 pairs, float* c, int64 stride, int64 rows,
                      int64 columns, bool begin, float scale) {
  for (int64 column = 0; column < columns; column += TILE_COLUMNS)
    for (int64 row = 0; row < rows; row += TILE_ROWS) {
      const auto add = columns - column > LANES ? add_tile<TILE_VECTORS> : add_tile<1>;
      add(a + row * pairs, b + column * pairs, pairs, c + row * stride + column, stride, rows - row,
          columns - column, begin, scale);
    }
}

// c = scale a b, m x n, by the caller's thread alone. It is called as cblas_sgemm is, with integers
// of 64 bits: always row by row, and what c held is not read, so that `order` and `beta` say
// nothing.
inline void bfloat16_product(int, int transpose_a, int transpose_b, std::int64_t m, std::int64_t n,
                             std::int64_t k, float scale, const float* a, std::int64_t lda,
                             const float* b, std::int64_t ldb, float, float* c, std::int64_t ldc) {
  const int transposed = 112;  // CblasTrans
  const bool of_a = transpose_a == transposed, of_b = transpose_b == transposed;
  const Lines rows{a, of_a ? lda : 1, of_a ? 1 : lda}, columns{b, of_b ? 1 : ldb, of_b ? ldb : 1};
  Pair* packed_a = packing_room();
  Pair* packed_b = packed_a + BLOCK_ROWS * BLOCK_PAIRS;
  const int64 pairs = (k + 1) / 2, blocks = (pairs + BLOCK_PAIRS - 1) / BLOCK_PAIRS;
  for (int64 column = 0; column < n; column += BLOCK_COLUMNS) {
    const int64 width = std::min<int64>(BLOCK_COLUMNS, n - column);
    for (int64 block = 0; block < blocks; ++block) {
      const int64 from = pairs * block / blocks, size = pairs * (block + 1) / blocks - from;
      const int64 inner = std::min<int64>(k - 2 * from, 2 * size);
      pack<TILE_COLUMNS>(columns.from(column, 2 * from), width, inner, packed_b);
      for (int64 row = 0; row < m; row += BLOCK_ROWS) {
        const int64 height = std::min<int64>(BLOCK_ROWS, m - row);
        pack<TILE_ROWS>(rows.from(row, 2 * from), height, inner, packed_a);
        add_block(packed_a, packed_b, size, c + row * ldc + column, ldc, height, width, block == 0,
                  block == blocks - 1 ? scale : 1);
      }
    }
  }
}

}  // namespace gpubp
