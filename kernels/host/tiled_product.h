// Products of float32 matrices, tile by tile: c = scale a b.
//
// The inner dimension of both matrices is a row of *words*, 32 bits each: one number, or two of 16
// bits. A tile of c stays in registers and takes up one word after the other, from the rows of a
// and the columns of b, the *lines*. So every number of c is one sum in one order, whatever the
// tiles, the blocks and the threads.
#pragma once
#include <cstdint>
#include <memory>

#include "packing.h"

namespace gpubp {

// A tile of c, and whether its sums begin at 0 or where c stands; `scale` is for when they are
// complete.
struct Tile {
  float* c;
  int64 stride, rows, columns;
  bool begin;
  float scale;
};

// How many words ahead a tile fetches what it will read of a, where neighbours along a line lie far
// apart: the processor itself fetches none of those.
const int64 WORDS_AHEAD = 24;

// Take up so many words of the lines of a and of b. What the tile below needs of c is fetched
// already.
template <class Format, bool SIDE_BY_SIDE, int ROWS, int VECTORS>
void add_tile(const Words& from_a, const Words& from_b, int64 words, const Tile& tile) {
  const auto at = [&](int row, int v) { return tile.c + row * tile.stride + v * LANES; };
  const auto left = [&](int v) { return v + 1 < VECTORS ? LANES : tile.columns - v * LANES; };
  const float *a = from_a.data, *b = from_b.data;
  const int64 across = from_a.across, along = SIDE_BY_SIDE ? from_a.along : 1;
  const int64 next = from_b.along, last = left(VECTORS - 1);
  Vector sums[ROWS][VECTORS];
  GPUBP_UNROLL for (int row = 0; row < ROWS; ++row) GPUBP_UNROLL for (int v = 0; v < VECTORS; ++v) {
    prefetch(at(row + ROWS, v));
    sums[row][v] = tile.begin ? Vector::zero() : Vector::load(at(row, v), left(v));
  }
  for (int64 word = 0; word < words; ++word, a += along, b += next) {
    if (SIDE_BY_SIDE) prefetch(a + WORDS_AHEAD * along);
    Vector own[VECTORS];
    GPUBP_UNROLL for (int v = 0; v < VECTORS; ++v) {
      own[v] = Vector::load(b + v * LANES, v + 1 < VECTORS ? LANES : last);
    }
    GPUBP_UNROLL for (int row = 0; row < ROWS; ++row)
        GPUBP_UNROLL for (int v = 0; v < VECTORS; ++v) {
      Format::add(sums[row][v], a[SIDE_BY_SIDE ? row : row * across], own[v]);
    }
  }
  GPUBP_UNROLL for (int row = 0; row < ROWS; ++row) GPUBP_UNROLL for (int v = 0; v < VECTORS; ++v) {
    sums[row][v].times(tile.scale).store(at(row, v), left(v));
  }
}

typedef void (*AddTile)(const Words&, const Words&, int64, const Tile&);

// Return the function for a tile of so many rows and vectors, at most ROWS and VECTORS.
template <class Format, bool SIDE_BY_SIDE, int ROWS, int VECTORS>
AddTile tile_of(int64 rows, int64 vectors) {
  const int fewer_rows = ROWS > 1 ? ROWS - 1 : 1, fewer_vectors = VECTORS > 1 ? VECTORS - 1 : 1;
  if (rows < ROWS) return tile_of<Format, SIDE_BY_SIDE, fewer_rows, VECTORS>(rows, vectors);
  if (vectors < VECTORS) return tile_of<Format, SIDE_BY_SIDE, ROWS, fewer_vectors>(rows, vectors);
  return add_tile<Format, SIDE_BY_SIDE, ROWS, VECTORS>;
}

// Return the function for a tile of so many rows and columns.
template <class Format, bool SIDE_BY_SIDE>
AddTile tile_for(int64 rows, int64 columns) {
  return tile_of<Format, SIDE_BY_SIDE, Format::tile_rows, Format::tile_vectors>(
      rows, (columns + LANES - 1) / LANES);
}

// Multiply words of lines: all rows and columns of a block of c.
template <class Format, bool SIDE_BY_SIDE>
void add_block(const Words& a, const Words& b, int64 words, const Tile& block) {
  const int64 height = Format::tile_rows, width = Format::tile_vectors * LANES;
  for (int64 column = 0; column < block.columns; column += width)
    for (int64 row = 0; row < block.rows; row += height) {
      const int64 rows = std::min(height, block.rows - row);
      const int64 columns = std::min(width, block.columns - column);
      const auto add = tile_for<Format, SIDE_BY_SIDE>(rows, columns);
      add({a.data + row / height * a.panel, a.across, a.along, 0},
          {b.data + column / width * b.panel, b.across, b.along, 0}, words,
          {block.c + row * block.stride + column, block.stride, rows, columns, block.begin,
           block.scale});
    }
}

// Of packed memory, for a block of a and for blocks of b.
template <class Format>
constexpr int64 words_of_a() {
  return Format::packed
             ? Format::parts * Format::block_rows * (Format::block_words + Format::words_together)
             : 0;
}
template <class Format>
constexpr int64 words_of_b() {
  return Format::parts * Format::block_columns * (Format::block_words + Format::words_together);
}

// Memory of this thread for the packed words of one block: those of a, then those of b.
template <class Format>
float* packing_room() {
  const int64 line = 64, size = sizeof(float), words = words_of_a<Format>() + words_of_b<Format>();
  static thread_local std::unique_ptr<char[]> room;
  if (!room) room.reset(new char[static_cast<size_t>(words * size + line)]);
  return reinterpret_cast<float*>(room.get() + line -
                                  reinterpret_cast<std::uintptr_t>(room.get()) % line);
}

// How the inner dimension is cut into blocks of whole groups of words: the last group does not make
// a block of its own.
template <class Format>
class Blocks {
 public:
  explicit Blocks(int64 k)
      : k_(k),
        groups_(words_in<Format>(k) / Format::words_together),
        count_(std::max<int64>(
            1, (words_in<Format>(k) - Format::words_together + Format::block_words - 1) /
                   Format::block_words)) {}
  int64 count() const { return count_; }
  // The first word of a block, and its first number; of the block after the last, the end.
  int64 word(int64 block) const { return groups_ * block / count_ * Format::words_together; }
  int64 number(int64 block) const { return std::min(k_, Format::depth * word(block)); }

 private:
  int64 k_, groups_, count_;
};

// Blocks `first` to before `end` of the inner dimension.
struct SomeBlocks {
  int64 first, end;
};

// c = scale a b, or added to c if the blocks are not the first; what b has of these blocks begins
// at `b`.
template <class Format>
void add_blocks(const Lines& rows, const Words& b, const Blocks<Format>& blocks, SomeBlocks some,
                const Tile& all) {
  const int height = Format::tile_rows;
  const auto add = rows.across == 1 ? add_block<Format, true> : add_block<Format, Format::packed>;
  float* room = packing_room<Format>();
  for (int64 row = 0; row < all.rows; row += Format::block_rows)
    for (int64 block = some.first; block < some.end; ++block) {
      const int64 down = std::min(int64(Format::block_rows), all.rows - row);
      const int64 from = blocks.number(block), word = blocks.word(block);
      const Words a = words_of<Format, height, Format::lines_of_a>(
          rows.from(row, from), down, blocks.number(block + 1) - from, Format::packed, room);
      const int64 skipped = (word - blocks.word(some.first)) * Format::parts * b.along;
      add(a, {b.data + skipped, b.across, b.along, b.panel}, blocks.word(block + 1) - word,
          {all.c + row * all.stride, all.stride, down, all.columns, block == 0,
           block == blocks.count() - 1 ? all.scale : 1});
    }
}

// From so many numbers of c on, those of a block of rows are completed while they stay in a cache;
// below, all of c stays there.
const int64 LARGE = 1 << 18;

// c = scale a b, m x n, by the caller's thread alone, where what c held is not read. Rows of a and
// columns of b are the lines.
template <class Format>
void tiled_product(const Lines& rows, const Lines& columns, int64 m, int64 n, int64 k, float scale,
                   float* c, int64 ldc) {
  const Blocks<Format> blocks(k);
  const int width = Format::tile_vectors * LANES;
  const bool packed = Format::packed || columns.across != 1;
  float* room = packing_room<Format>() + words_of_a<Format>();
  for (int64 column = 0; column < n; column += Format::block_columns) {
    const int64 across = std::min(int64(Format::block_columns), n - column);
    const int64 line = (across + width - 1) / width * width * Format::parts;
    for (SomeBlocks some{0, 0}; some.first < blocks.count(); some.first = some.end) {
      const auto fits = [&](int64 end) {
        return (blocks.word(end) - blocks.word(some.first)) * line <= words_of_b<Format>();
      };
      some.end = some.first + 1;
      while (m * across > LARGE && some.end < blocks.count() && fits(some.end + 1)) ++some.end;
      const int64 from = blocks.number(some.first), inner = blocks.number(some.end) - from;
      const Words b =
          words_of<Format, width, false>(columns.from(column, from), across, inner, packed, room);
      add_blocks(rows, b, blocks, some, {c + column, ldc, m, across, false, scale});
    }
  }
}

// The words that the columns of b, k x n, are packed into whole, and the product with them.
template <class Format>
std::int64_t packed_size(std::int64_t n, std::int64_t k) {
  const int64 width = Format::tile_vectors * LANES;
  return (n + width - 1) / width * width * Format::parts * words_in<Format>(k);
}
template <class Format>
void product_of_packed(const Lines& rows, const float* packed, int64 m, int64 n, int64 k,
                       float scale, float* c, int64 ldc) {
  const Blocks<Format> blocks(k);
  const int width = Format::tile_vectors * LANES;
  const Words b = packed_words<Format, width>(packed, k);
  const int64 at_once = m * n > LARGE ? blocks.count() : 1;
  for (int64 first = 0; first < blocks.count(); first += at_once)
    add_blocks(rows, {b.data + blocks.word(first) * Format::parts * width, 1, width, b.panel},
               blocks, {first, first + at_once}, {c, ldc, m, n, false, scale});
}

// The rows of a matrix as lines, or its columns: data of which rows are `apart` numbers apart.
inline Lines lines_of(const float* data, int64 apart, bool columns) {
  return columns ? Lines{data, apart, 1} : Lines{data, 1, apart};
}

// c = scale a b for flags as cblas_sgemm takes them.
template <class Format>
void called_product(int transpose_a, int transpose_b, int64 m, int64 n, int64 k, float scale,
                    const float* a, int64 lda, const float* b, int64 ldb, float* c, int64 ldc) {
  const int transposed = 112;  // CblasTrans
  tiled_product<Format>(lines_of(a, lda, transpose_a == transposed),
                        lines_of(b, ldb, transpose_b != transposed), m, n, k, scale, c, ldc);
}

}  // namespace gpubp
