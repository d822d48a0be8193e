// The order of rows in an epoch: rows sorted by the random keys of random.cuh.
#pragma once
#include "masks.h"

namespace gpubp {

const int DIGIT = 8, DIGITS = 1 << DIGIT;  // bits that are sorted by at a time, and their values

// Write the random bits of rows 0 to `rows`, each with the row's own number in the bits of `mask`.
inline void draw_keys(uint64 seed, uint64 stream, uint64 epoch, uint64 mask, int64 rows,
                      uint64* keys) {
  const int64 at_once = 4 * MANY_BLOCKS;
  for (int64 first = 0; first < rows; first += at_once) {
    uint64 words[4][MANY_BLOCKS];
    philox_blocks(seed, stream, static_cast<uint64>(first / 4) + 1, epoch, words);
    const int64 count = std::min(at_once, rows - first);
    for (int64 i = 0; i < count; ++i)
      keys[first + i] = (words[i % 4][i / 4] & ~mask) | static_cast<uint64>(first + i);
  }
}

// Move keys to `to`, sorted by a digit; those whose digits are alike stay in their order.
inline void sort_by_digit(const uint64* keys, int64 count, int shift, uint64* to) {
  int64 places[DIGITS] = {};
  const auto digit = [&](uint64 key) { return key >> shift & (DIGITS - 1); };
  for (int64 i = 0; i < count; ++i) ++places[digit(keys[i])];
  int64 before = 0;
  for (int64& place : places) {
    const int64 here = place;
    place = before;
    before += here;
  }
  for (int64 i = 0; i < count; ++i) to[places[digit(keys[i])]++] = keys[i];
}

inline void insert_in_order(uint64* keys, int64 count) {
  for (int64 i = 1; i < count; ++i) {
    const uint64 key = keys[i];
    int64 to = i;
    for (; to > 0 && keys[to - 1] > key; --to) keys[to] = keys[to - 1];
    keys[to] = key;
  }
}

// Write the rows as gpubp.backends.random.permutation orders them; `room` is for as many keys.
inline void shuffle_rows(uint64 seed, uint64 stream, uint64 epoch, int64 rows, uint64* order,
                         uint64* room) {
  int row_bits = 0;
  while (int64(1) << row_bits < rows) ++row_bits;
  const uint64 mask = (uint64(1) << row_bits) - 1;
  uint64 *keys = order, *other = room;
  draw_keys(seed, stream, epoch, mask, rows, keys);
  // The uppermost digits, the last first. With three bits more than rows have few keys are alike
  // in all of them, and those few are put right one by one.
  for (int digits = (row_bits + 3 + DIGIT - 1) / DIGIT; digits > 0; --digits) {
    sort_by_digit(keys, rows, 64 - digits * DIGIT, other);
    std::swap(keys, other);
  }
  insert_in_order(keys, rows);
  for (int64 i = 0; i < rows; ++i) order[i] = keys[i] & mask;
}

}  // namespace gpubp
