// Products of float32 matrices, tile by tile: c = scale a b.
//
// The inner dimension of both matrices is a row of *words*, 32 bits each: one number, or two of 16
// bits. A tile of c stays in registers and takes up one word after the other, from the rows of a
// and the columns of b, the *lines*. So every number of c is one sum in one order, whatever the
// tiles, the blocks and the threads.
//
// A *format* says what a word is:
//   depth            how many numbers it has
//   packed           whether both matrices must be rewritten as words; if not, numbers are read
//                    where they lie, and only lines of b that do not lie side by side are rewritten
//   words_together   how many words a tile takes up at a time; packed ones are filled up with 0
//   parts            how many words of packed memory a word takes
//   lines_of_a       whether words of a are packed line by line, in squares; others lie beside
//                    those of the other lines
//   tile_rows, tile_vectors   the size of a tile
//   block_words, block_rows, block_columns   of what is packed at a time, to stay in caches
//   along(line, left)         the words of the next neighbours along a line, of which so many exist
//   across(lines, left, deep) the next word of each of some lines that lie side by side
//   add(sums, word, words)    what a tile does
#pragma once
#include <cstdint>
#include <memory>

#include "simd_vector.h"

namespace gpubp {

// A matrix of float32 seen as lines: neighbours along a line, and neighbouring lines, so far apart.
struct Lines {
  const float* data;
  int64 along, across;
  const float* at(int64 line, int64 place) const { return data + line * across + place * along; }
  Lines from(int64 line, int64 place) const { return {at(line, place), along, across}; }
};

// Words of lines: those of neighbouring lines, and neighbours along a line, so far apart. A panel
// has the lines of one tile, the next panel lies `panel` further.
struct Words {
  const float* data;
  int64 across, along, panel;
};

// Return how many words so many numbers of a line have.
template <class Format>
int64 words_in(int64 inner) {
  const int64 numbers = int64(Format::depth) * Format::words_together;
  return (inner + numbers - 1) / numbers * Format::words_together;
}

// Pack up to LANES words of up to WIDTH lines, each word beside those of the other lines; or line
// by line, the words of a line after each other. Lines and numbers that there are not are 0. A
// format of several parts has a specialization.
template <class Format>
struct Packing {
  template <int WIDTH, bool BY_LINE>
  static void pack(const Lines& from, int64 lines, int64 inner, float* to) {
    const int64 words = std::min<int64>(LANES, words_in<Format>(inner));
    const bool side_by_side = from.across == 1;  // else a line lies in one piece
    const auto across = [&](int64 line, int64 word) {
      const int64 at = word * Format::depth;
      return Format::across(from.from(line, at), lines - line, inner - at);
    };
    for (int line = 0; line < WIDTH; line += LANES) {
      if (side_by_side && !BY_LINE) {
        for (int64 word = 0; word < words; ++word)
          across(line, word).store(to + word * WIDTH + line, WIDTH - line);
        continue;
      }
      Vector square[LANES];
      for (int i = 0; i < LANES; ++i)
        square[i] = side_by_side       ? across(line, i)
                    : line + i < lines ? Format::along(from.at(line + i, 0), inner)
                                       : Vector::zero();
      if (side_by_side == BY_LINE) transpose(square);
      for (int i = 0; i < LANES; ++i) {
        if (BY_LINE) square[i].store(to + (line + i) * LANES, LANES);
        if (!BY_LINE && i < words) square[i].store(to + i * WIDTH + line, WIDTH - line);
      }
    }
  }
};

// Pack lines, panel after panel. Those that lie side by side are read across all panels, so that
// what is read next lies next.
template <class Format, int WIDTH, bool BY_LINE>
void pack_lines(const Lines& from, int64 lines, int64 inner, float* to) {
  const int64 numbers = LANES * Format::depth, words = Format::parts * words_in<Format>(inner);
  const auto pack = [=](int64 line, int64 at) {
    Packing<Format>::template pack<WIDTH, BY_LINE>(
        from.from(line, at), lines - line, inner - at,
        to + line * words + at / Format::depth * Format::parts * WIDTH);
  };
  if (from.across == 1)
    for (int64 at = 0; at < inner; at += numbers)
      for (int64 line = 0; line < lines; line += WIDTH) pack(line, at);
  else
    for (int64 line = 0; line < lines; line += WIDTH)
      for (int64 at = 0; at < inner; at += numbers) pack(line, at);
}

// Return the words of so many lines: where they lie, or packed.
template <class Format, int WIDTH, bool BY_LINE>
Words words_of(const Lines& from, int64 lines, int64 inner, bool packed, float* room) {
  if (!packed) return {from.data, from.across, from.along, WIDTH * from.across};
  pack_lines<Format, WIDTH, BY_LINE>(from, lines, inner, room);
  return {room, 1, WIDTH, WIDTH * Format::parts * words_in<Format>(inner)};
}

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

template <class Format>
constexpr int64 words_of_a() {
  return Format::packed ? Format::parts * Format::block_rows * Format::block_words : 0;
}
template <class Format>
constexpr int64 words_of_b() {
  return Format::parts * Format::block_columns * Format::block_words;
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

// c = scale a b, m x n, by the caller's thread alone, where what c held is not read. Rows of a and
// columns of b are the lines.
template <class Format>
void tiled_product(const Lines& rows, const Lines& columns, int64 m, int64 n, int64 k, float scale,
                   float* c, int64 ldc) {
  const int64 depth = Format::depth, words = words_in<Format>(k);
  const int64 together = Format::words_together, pieces = words / together;
  const int64 block_words = Format::block_words, block_rows = Format::block_rows;
  const int64 block_columns = Format::block_columns;
  const int height = Format::tile_rows, width = Format::tile_vectors * LANES;
  const bool pack_a = Format::packed, pack_b = pack_a || columns.across != 1;
  const auto add = rows.across == 1 ? add_block<Format, true> : add_block<Format, Format::packed>;
  float* room_a = packing_room<Format>();
  float* room_b = room_a + words_of_a<Format>();
  const int64 blocks = (words + block_words - 1) / block_words;
  for (int64 column = 0; column < n; column += block_columns)
    for (int64 block = 0; block < blocks; ++block) {
      const int64 from = pieces * block / blocks * together;
      const int64 size = pieces * (block + 1) / blocks * together - from;
      const int64 inner = std::min(k - depth * from, depth * size);
      const int64 across = std::min(block_columns, n - column);
      const Words b = words_of<Format, width, false>(columns.from(column, depth * from), across,
                                                     inner, pack_b, room_b);
      for (int64 row = 0; row < m; row += block_rows) {
        const int64 down = std::min(block_rows, m - row);
        const Words a = words_of<Format, height, Format::lines_of_a>(rows.from(row, depth * from),
                                                                     down, inner, pack_a, room_a);
        const bool last = block == blocks - 1;
        add(a, b, size, {c + row * ldc + column, ldc, down, across, block == 0, last ? scale : 1});
      }
    }
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
