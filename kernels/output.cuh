// A narrow output layer of a training step, a few rows by a block: its weighted sums, their loss,
// and the gradient by its inputs. A product would not fill a device with so few outputs. How many
// inputs and outputs there are is known when the kernel is compiled, so no loop has to count; FOURS
// says that the weights are aligned to four and can be taken by fours.
#pragma once
#include "blocks.cuh"
#include "lanes.cuh"

namespace gpubp {

template <typename S, int ROWS, int INPUTS, int OUTPUTS, bool FOURS>
struct OutputLayer {
  typedef typename Computed<S>::type T;
  enum {
    THREADS = 256,
    WEIGHTS = INPUTS * OUTPUTS,  // (inputs, outputs)
    APART = THREADS / OUTPUTS,   // threads that share an output's sums
    COUNT = FOURS ? 4 : 1,
    READS = (WEIGHTS / COUNT + THREADS - 1) / THREADS,
    EACH = (INPUTS + THREADS - 1) / THREADS,
  };
  struct State {
    Stored<S, COUNT> weights[READS];
    S x[EACH][ROWS];
  };
  struct alignas(16) Memory {
    T weights[WEIGHTS], x[INPUTS][ROWS], parts[ROWS][THREADS], sums[ROWS][OUTPUTS],
        wide[OUTPUTS][ROWS];
    S gradient[ROWS][OUTPUTS];
  };

  const S* x;
  const S* weights;
  const T* bias;
  T factor;
  int64 rows, first;  // in all, and of this block
  T* y;
  S* dy;
  S* dx;

  // `loss(row, y, dy, lanes)` writes the gradient of a row, `backward(x, y, dy)` is the slope of
  // the layer below; `fetch_early(thread)` gets on its way what the loss will read.
  template <typename Loss, typename Backward, typename Fetch>
  GPUBP_HD void run(Memory& memory, Loss loss, Backward backward, Fetch fetch_early) const {
    const int count = int(rows - first < ROWS ? rows - first : ROWS);
    Block<THREADS, State> block;
    block.each([&](int thread, State& own) {
      if (thread < OUTPUTS) fetch(bias + thread);
      fetch_early(thread);
      read(thread, count, own);
      keep(thread, own, memory);
    });
    block.each([&](int thread, State&) { multiply(thread, memory); });
    block.each([&](int thread, State&) { add_up(thread, count, memory); });
    block.each([&](int thread, State&) {
      const int row = thread / 32;
      if (row < count) loss(first + row, memory.sums[row], memory.gradient[row], Warp(thread));
    });
    block.each([&](int thread, State&) {
      const int row = thread / OUTPUTS, column = thread % OUTPUTS;
      if (row < ROWS)
        memory.wide[column][row] = row < count ? widen<T>(memory.gradient[row][column]) : T(0);
      if (row < count) dy[first * OUTPUTS + thread] = memory.gradient[row][column];
    });
    block.each([&](int thread, State&) { back(thread, count, memory, backward); });
  }

  // All is on its way before any of it is kept.
  GPUBP_HD void read(int thread, int count, State& own) const {
    GPUBP_UNROLL
    for (int e = 0; e < READS; ++e) {
      const int at = (e * THREADS + thread) * COUNT;
      read_some<true>(weights + at, WEIGHTS - at, own.weights[e]);
    }
    GPUBP_UNROLL
    for (int e = 0; e < EACH; ++e) {
      const int k = e * THREADS + thread;
      GPUBP_UNROLL
      for (int r = 0; r < ROWS; ++r)
        own.x[e][r] = r < count && k < INPUTS ? x[(first + r) * INPUTS + k] : S(0);
    }
  }

  static GPUBP_HD void keep(int thread, const State& own, Memory& memory) {
    GPUBP_UNROLL
    for (int e = 0; e < READS; ++e) {
      const int at = (e * THREADS + thread) * COUNT;
      GPUBP_UNROLL
      for (int j = 0; j < COUNT; ++j)
        if (at < WEIGHTS) memory.weights[at + j] = widen<T>(own.weights[e].value[j]);
    }
    GPUBP_UNROLL
    for (int e = 0; e < EACH; ++e) {
      const int k = e * THREADS + thread;
      GPUBP_UNROLL
      for (int r = 0; r < ROWS; ++r)
        if (k < INPUTS) memory.x[k][r] = widen<T>(own.x[e][r]);
    }
  }

  // A thread's part of the sums of one output, of each row.
  static GPUBP_HD void multiply(int thread, Memory& memory) {
    T sums[ROWS] = {};
    if (thread < APART * OUTPUTS) {
      GPUBP_UNROLL_BY(8)
      for (int k = thread / OUTPUTS; k < INPUTS; k += APART) {
        const T weight = memory.weights[k * OUTPUTS + thread % OUTPUTS];
        GPUBP_UNROLL
        for (int r = 0; r < ROWS; ++r) sums[r] += memory.x[k][r] * weight;
      }
    }
    GPUBP_UNROLL
    for (int r = 0; r < ROWS; ++r) memory.parts[r][thread] = sums[r];
  }

  // The sum of one output of one row: y = factor x W + bias.
  GPUBP_HD void add_up(int thread, int count, Memory& memory) const {
    const int row = thread / OUTPUTS, column = thread % OUTPUTS;
    if (row >= count) return;
    T sums[4] = {};
    GPUBP_UNROLL_BY(8)
    for (int k = 0; k < APART; ++k) sums[k % 4] += memory.parts[row][column + k * OUTPUTS];
    const T sum = factor * ((sums[0] + sums[1]) + (sums[2] + sums[3])) + bias[column];
    memory.sums[row][column] = y[first * OUTPUTS + thread] = sum;
  }

  // dx = f'(x) factor dy W': the layer below has the outputs x, which its slope is computed from.
  template <typename Backward>
  GPUBP_HD void back(int thread, int count, const Memory& memory, Backward backward) const {
    for (int k = thread; k < INPUTS; k += THREADS) {
      T sums[ROWS] = {};
      GPUBP_UNROLL_BY(8)
      for (int j = 0; j < OUTPUTS; ++j) {
        const T weight = memory.weights[k * OUTPUTS + j];
        GPUBP_UNROLL
        for (int r = 0; r < ROWS; ++r) sums[r] += memory.wide[j][r] * weight;
      }
      GPUBP_UNROLL
      for (int r = 0; r < ROWS; ++r) {
        const T value = memory.x[k][r];
        if (r < count)
          narrow(backward(value, value, factor * sums[r]), dx[(first + r) * INPUTS + k]);
      }
    }
  }
};

}  // namespace gpubp
