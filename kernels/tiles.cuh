// Products of matrices by blocks of threads, for batches so small that most of a large device would
// wait: each block writes a small tile of the result, and groups of its warps share the terms of
// every sum. What follows the product is part of the same kernel, and what it needs from memory is
// on its way before the product begins. Matrix units multiply, see matrix_units.cuh.
#pragma once
#include "matrix_units.cuh"

namespace gpubp {

// A matrix in memory, from one row to the next `pitch` numbers.
template <typename S>
struct Operand {
  const S* data;
  int64 pitch;
};

// How a product is shared out: tiles of ROWS x COLUMNS, whose sums GROUPS groups of warps share. A
// warp has WARP_ROWS rows, 16 or 32, and 32 columns; it reads AHEAD steps of 16 terms ahead.
template <int ROWS_, int COLUMNS_, int GROUPS_, int WARP_ROWS_, int AHEAD_>
struct Tiling {
  enum {
    ROWS = ROWS_,
    COLUMNS = COLUMNS_,
    GROUPS = GROUPS_,
    WARP_ROWS = WARP_ROWS_,
    AHEAD = AHEAD_,
    GROUP = ROWS_ / WARP_ROWS_ * (COLUMNS_ / 32) * 32,  // threads
    THREADS = GROUP * GROUPS_,
  };
};

// What a lane has of an operand in a step: COUNT lines, which are rows of a or columns of b, and of
// each the terms 4 (lane % 4) to 4 (lane % 4) + 3 of 16. ALONG says that the terms of a line are
// neighbours in memory, or else the lines of a term; FOURS that neighbours are aligned, and none of
// them beyond the matrix if the first is not.
template <typename S, bool ALONG, bool FOURS, int COUNT>
struct Lines {
  enum { READS = ALONG ? COUNT : 4, NEIGHBOURS = ALONG ? 4 : COUNT };
  Stored<S, NEIGHBOURS> read_ones[READS];

  // Where the q-th line of lanes number 4 `eighth` and the three that follow is.
  static GPUBP_HD int place(int eighth, int q) {
    return ALONG ? q * 8 + eighth : eighth * COUNT + q;
  }

  GPUBP_HD void read(const Operand<S>& from, int64 line, int64 term, int64 lines, int64 terms,
                     int lane) {
    term += lane % 4 * 4;
    line += place(lane / 4, 0);
    GPUBP_UNROLL
    for (int r = 0; r < READS; ++r) {
      const int64 outer = ALONG ? line + r * 8 : term + r, inner = ALONG ? term : line;
      const int64 count = ALONG ? terms - term : lines - line;
      read_some<FOURS>(from.data + outer * from.pitch + inner,
                       outer < (ALONG ? lines : terms) ? count : 0, read_ones[r]);
    }
  }
  GPUBP_HD float value(int q, int term) const {
    return widen<float>(ALONG ? read_ones[q].value[term] : read_ones[term].value[q]);
  }
};

// Tiles of a b. `Then` does what follows: its `read(row, column, count)` comes before the product,
// its `write(sums, row, column, count)` after it, for `count` neighbouring columns of a row. In the
// first tile of some columns, `write_columns` gets the sums of those of b.
template <typename Tiling, typename S, bool A_ALONG, bool A_FOURS, bool B_ALONG, bool B_FOURS,
          typename Then>
struct TileProduct {
  enum {
    GROUPS = Tiling::GROUPS,
    GROUP = Tiling::GROUP,
    THREADS = Tiling::THREADS,
    ROWS = Tiling::ROWS,
    COLUMNS = Tiling::COLUMNS,
    AHEAD = Tiling::AHEAD,
    ACROSS = COLUMNS / 4,
    DOWN = Tiling::WARP_ROWS / 16,  // squares of 16 x 8 that a warp has, and 4 beside each other
    PITCH = COLUMNS + 8,            // of sums: neighbouring rows begin in other banks
    TILE = ROWS * PITCH,
    SUMS = TILE + 4 * COLUMNS,
    MEMORY = GROUPS * SUMS,  // floats that a block shares
    PLACES = ROWS * ACROSS,
    EACH = (PLACES + THREADS - 1) / THREADS,
  };
  typedef Lines<S, A_ALONG, A_FOURS, DOWN * 2> LinesA;
  typedef Lines<S, B_ALONG, B_FOURS, 4> LinesB;

  struct State {
    LinesA a[AHEAD];
    LinesB b[AHEAD];
    Squares<S, DOWN> sums;
    float columns[4];
    typename Then::State then[EACH];
  };

  const Operand<S>& a;
  const Operand<S>& b;
  int64 rows, columns, terms, row, column;  // of the matrices, and where the tile begins
  bool sums_columns;

  static GPUBP_HD void run(const Operand<S>& a, const Operand<S>& b, int64 rows, int64 columns,
                           int64 terms, int64 tile, float* memory, const Then& then) {
    const int64 across = (columns + COLUMNS - 1) / COLUMNS;
    const int64 row = tile / across * ROWS, column = tile % across * COLUMNS;
    const TileProduct product{a,     b,   rows,   columns,
                              terms, row, column, Then::COLUMN_SUMS && row == 0};
    Block<THREADS, State> block;
    block.each([&](int thread, State& own) {
      product.begin(thread, own, then);
      product.multiply(thread, own);
      product.keep(thread, own, memory);
    });
    block.each([&](int thread, State& own) { product.end(thread, own, memory, then); });
  }

  // The first row and column of a thread's warp in the tile.
  static GPUBP_HD int down_of(int thread) {
    return thread % GROUP / 32 / (COLUMNS / 32) * Tiling::WARP_ROWS;
  }
  static GPUBP_HD int right_of(int thread) { return thread % GROUP / 32 % (COLUMNS / 32) * 32; }

  GPUBP_HD void read(int thread, int64 step, int ahead, State& own) const {
    own.a[ahead].read(a, row + down_of(thread), step * STEP_TERMS, rows, terms, thread % 32);
    own.b[ahead].read(b, column + right_of(thread), step * STEP_TERMS, columns, terms, thread % 32);
  }

  GPUBP_HD void begin(int thread, State& own, const Then& then) const {
    GPUBP_UNROLL
    for (int ahead = 0; ahead < AHEAD; ++ahead)
      read(thread, thread / GROUP + ahead * GROUPS, ahead, own);
    GPUBP_UNROLL
    for (int e = 0; e < EACH; ++e) {
      const int place = thread + e * THREADS;
      const int64 i = row + place / ACROSS, j = column + place % ACROSS * 4;
      then.read(own.then[e], i, j, i < rows && place < PLACES ? columns - j : 0);
    }
    own.sums.begin();
    GPUBP_UNROLL
    for (int j = 0; j < 4; ++j) own.columns[j] = 0;
  }

  GPUBP_HD void multiply(int thread, State& own) const {
    const int64 steps = (terms + STEP_TERMS - 1) / STEP_TERMS;
    for (int64 first = thread / GROUP; first < steps; first += AHEAD * GROUPS) {
      GPUBP_UNROLL
      for (int ahead = 0; ahead < AHEAD; ++ahead) {
        const int64 step = first + ahead * GROUPS, next = step + AHEAD * GROUPS;
        if (step >= steps) break;
        add(thread, step, ahead, own);
        if (next < steps) read(thread, next, ahead, own);
      }
    }
  }

  // Add the terms of a step to a thread's sums.
  GPUBP_HD void add(int thread, int64 step, int ahead, State& own) const {
    const LinesB& of_b = own.b[ahead];
#if GPUBP_MATRIX_UNITS
    own.sums.add(own.a[ahead], of_b);
#else
    for (int64 k = step * STEP_TERMS; k < terms && k < (step + 1) * STEP_TERMS; ++k)
      for (int place = 0; place < DOWN * 16; ++place) {
        const int i = place / 16, j = place / 4 % 4, c = place % 4;
        const int64 line_a = row + row_of(thread, i, c), line_b = column + column_of(thread, j, c);
        if (line_a < rows && line_b < columns)
          own.sums.of[i][j][c] +=
              widen<float>(a.data[A_ALONG ? line_a * a.pitch + k : k * a.pitch + line_a]) *
              widen<float>(b.data[B_ALONG ? line_b * b.pitch + k : k * b.pitch + line_b]);
      }
#endif
    if (!sums_columns) return;
    GPUBP_UNROLL
    for (int j = 0; j < 4; ++j)
      own.columns[j] +=
          (of_b.value(j, 0) + of_b.value(j, 1)) + (of_b.value(j, 2) + of_b.value(j, 3));
  }

  // Where in the tile the c-th sum of a thread's square i, j is.
  static GPUBP_HD int row_of(int thread, int i, int c) {
    return down_of(thread) + LinesA::place(thread % 32 / 4, i * 2 + c / 2);
  }
  static GPUBP_HD int column_of(int thread, int j, int c) {
    return right_of(thread) + LinesB::place(thread % 4 * 2 + c % 2, j);
  }

  GPUBP_HD void keep(int thread, const State& own, float* memory) const {
    float* part = memory + thread / GROUP * SUMS;
    GPUBP_UNROLL
    for (int place = 0; place < DOWN * 16; ++place) {
      const int i = place / 16, j = place / 4 % 4, c = place % 4;
      part[row_of(thread, i, c) * PITCH + column_of(thread, j, c)] = own.sums.sum(i, j, c);
    }
    if (!sums_columns || down_of(thread)) return;
    GPUBP_UNROLL
    for (int j = 0; j < 4; ++j)
      part[TILE + thread % 4 * COLUMNS + right_of(thread) + LinesB::place(thread % 32 / 4, j)] =
          own.columns[j];
  }

  GPUBP_HD void end(int thread, State& own, const float* memory, const Then& then) const {
    GPUBP_UNROLL
    for (int e = 0; e < EACH; ++e) {
      const int place = thread + e * THREADS, i = place / ACROSS, j = place % ACROSS * 4;
      if (place < PLACES && row + i < rows && column + j < columns)
        then.write(own.then[e], sum_of(memory + i * PITCH + j, Four{}), row + i, column + j,
                   columns - column - j);
    }
    const int64 j = thread * 4;
    if (!sums_columns || thread >= ACROSS || column + j >= columns) return;
    Four sum{};
    GPUBP_UNROLL
    for (int lane = 0; lane < 4; ++lane) sum = sum_of(memory + TILE + lane * COLUMNS + j, sum);
    then.write_columns(sum, column + j, columns - column - j);
  }

  // Add the sums of all groups to those of four neighbours, in the order of the groups.
  static GPUBP_HD Four sum_of(const float* part, Four sum) {
    GPUBP_UNROLL
    for (int group = 0; group < GROUPS; ++group) {
      const Four more = four_at(part + group * SUMS);
      GPUBP_UNROLL
      for (int j = 0; j < 4; ++j) sum.value[j] += more.value[j];
    }
    return sum;
  }
};

// A layer forward: z = factor sum + bias and y = f(z), z and y of the same place or apart.
template <typename Z, typename Y, bool FOURS, typename F>
struct Forward {
  enum { COLUMN_SUMS = false };
  typedef Four State;
  const float* bias;
  Z* z;
  Y* y;
  int64 pitch;
  float factor;
  F activation;

  GPUBP_HD void read(State& own, int64, int64 column, int64 count) const {
    read_some<FOURS>(bias + column, count, own);
  }
  GPUBP_HD void write(const State& own, const Four& sums, int64 row, int64 column,
                      int64 count) const {
    Stored<Z, 4> of_z;
    Stored<Y, 4> of_y;
    GPUBP_UNROLL
    for (int j = 0; j < 4; ++j) {
      const float sum = factor * sums.value[j] + own.value[j];
      narrow(sum, of_z.value[j]);
      narrow(activation(sum), of_y.value[j]);
    }
    if (static_cast<void*>(z) != static_cast<void*>(y))
      write_some<FOURS>(z + row * pitch + column, count, of_z);
    write_some<FOURS>(y + row * pitch + column, count, of_y);
  }
  GPUBP_HD void write_columns(const Four&, int64, int64) const {}
};

// A gradient by the outputs of the layer below, times their slope: dz = f'(kept) factor sum.
template <typename S, bool FOURS, typename F>
struct Slope {
  enum { COLUMN_SUMS = false };
  typedef Stored<S, 4> State;
  const S* kept;
  S* dz;
  int64 pitch;
  float factor;
  F backward;

  GPUBP_HD void read(State& own, int64 row, int64 column, int64 count) const {
    read_some<FOURS>(kept + row * pitch + column, count, own);
  }
  GPUBP_HD void write(const State& own, const Four& sums, int64 row, int64 column,
                      int64 count) const {
    Stored<S, 4> of_dz;
    GPUBP_UNROLL
    for (int j = 0; j < 4; ++j) {
      const float value = widen<float>(own.value[j]);
      narrow(backward(value, value, factor * sums.value[j]), of_dz.value[j]);
    }
    write_some<FOURS>(dz + row * pitch + column, count, of_dz);
  }
  GPUBP_HD void write_columns(const Four&, int64, int64) const {}
};

// Gradients of a layer's weights, and of its biases, which are the sums of the columns of b.
template <bool FOURS>
struct Gradients {
  enum { COLUMN_SUMS = true };
  struct State {};
  float* weights;
  float* biases;
  int64 pitch;
  float factor;

  GPUBP_HD void read(State&, int64, int64, int64) const {}
  GPUBP_HD void write(const State&, const Four& sums, int64 row, int64 column, int64 count) const {
    Four scaled;
    GPUBP_UNROLL
    for (int j = 0; j < 4; ++j) scaled.value[j] = factor * sums.value[j];
    write_some<FOURS>(weights + row * pitch + column, count, scaled);
  }
  GPUBP_HD void write_columns(const Four& sums, int64 column, int64 count) const {
    write_some<false>(biases + column, count, sums);
  }
};

}  // namespace gpubp
