// Words of matrices of float32 in the order in which products take them up; see tiled_product.h.
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

// Return the words of lines of so many numbers, WIDTH lines a panel, as `pack_lines` packs them.
template <class Format, int WIDTH>
Words packed_words(const float* packed, int64 inner) {
  return {packed, 1, WIDTH, WIDTH * Format::parts * words_in<Format>(inner)};
}

// Return the words of lines where they lie, or packed into a room.
template <class Format, int WIDTH, bool BY_LINE>
Words words_of(const Lines& from, int64 lines, int64 inner, bool packed, float* room) {
  if (!packed) return {from.data, from.across, from.along, WIDTH * from.across};
  pack_lines<Format, WIDTH, BY_LINE>(from, lines, inner, room);
  return packed_words<Format, WIDTH>(room, inner);
}

}  // namespace gpubp
