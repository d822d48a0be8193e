// Products of squares of 16 x 8 by the matrix units of a GPU, from compute capability 8.0 on: a
// warp multiplies 16 terms at a time. Elsewhere, and on the host, each thread sums its own places.
//
// float32 keeps its precision: each number is the sum of two of 11 digits, high and low, and the
// products high high, high low and low high are added up, the first in float32 and not by the unit,
// which cuts off what does not fit. Ootomo and Yokota 2022, "Recovering single precision accuracy
// from Tensor Cores". What is left out is smaller than 2^-23 of a product.
#pragma once
#include "blocks.cuh"

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
#define GPUBP_MATRIX_UNITS 1
#else
#define GPUBP_MATRIX_UNITS 0
#endif

namespace gpubp {

enum { STEP_TERMS = 16 };  // that a warp multiplies at a time

#if GPUBP_MATRIX_UNITS
// A number rounded to 11 digits, and what is left of it, as the unit takes them.
struct Digits {
  uint32 high, low;
  GPUBP_HD explicit Digits(float value) {
    high = (bits_of(value) + 0x1000u) & 0xffffe000u;
    low = bits_of(value - float_of(high));
  }
};

GPUBP_HD void multiply_tf32(float (&sums)[4], uint32 a0, uint32 a1, uint32 a2, uint32 a3, uint32 b0,
                            uint32 b1) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

GPUBP_HD void multiply_bfloat16(float (&sums)[4], uint32 a0, uint32 a1, uint32 a2, uint32 a3,
                                uint32 b0, uint32 b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// A term of a line and the next one as bfloat16, the first below.
template <typename Lines>
GPUBP_HD uint32 pair_of(const Lines& lines, int line, int term) {
  return __byte_perm(bits_of(lines.value(line, term)), bits_of(lines.value(line, term + 1)),
                     0x7632);
}
#endif

// The sums of a thread: DOWN squares below each other, four beside each. A lane brings lines of a
// and of b, four terms of each: rows lane / 4 and lane / 4 + 8 of a square are two lines of a, and
// the columns lane / 4 of the four squares are lines of b. It has four sums of a square: rows lane
// / 4 and lane / 4 + 8, columns 2 (lane % 4) and the next.
template <typename S, int DOWN>
struct Squares {
  float of[DOWN][4][4], small[DOWN][4][4];

  GPUBP_HD void begin() {
    GPUBP_UNROLL
    for (int place = 0; place < DOWN * 16; ++place)
      of[place / 16][place / 4 % 4][place % 4] = small[place / 16][place / 4 % 4][place % 4] = 0;
  }
  GPUBP_HD float sum(int i, int j, int c) const { return of[i][j][c] + small[i][j][c]; }

#if GPUBP_MATRIX_UNITS
  template <typename LinesA, typename LinesB>
  GPUBP_HD void add(const LinesA& a, const LinesB& b) {
    GPUBP_UNROLL
    for (int i = 0; i < DOWN; ++i) {
      float great[4][4] = {};
      GPUBP_UNROLL
      for (int k = 0; k < 4; k += 2) {
        const Digits a0(a.value(2 * i, k)), a1(a.value(2 * i + 1, k));
        const Digits a2(a.value(2 * i, k + 1)), a3(a.value(2 * i + 1, k + 1));
        GPUBP_UNROLL
        for (int j = 0; j < 4; ++j) {
          const Digits b0(b.value(j, k)), b1(b.value(j, k + 1));
          multiply_tf32(small[i][j], a0.low, a1.low, a2.low, a3.low, b0.high, b1.high);
          multiply_tf32(small[i][j], a0.high, a1.high, a2.high, a3.high, b0.low, b1.low);
          multiply_tf32(great[j], a0.high, a1.high, a2.high, a3.high, b0.high, b1.high);
        }
      }
      GPUBP_UNROLL
      for (int place = 0; place < 16; ++place)
        of[i][place / 4][place % 4] += great[place / 4][place % 4];
    }
  }
#endif
};

template <int DOWN>
struct Squares<bfloat16, DOWN> {
  float of[DOWN][4][4];

  GPUBP_HD void begin() {
    GPUBP_UNROLL
    for (int place = 0; place < DOWN * 16; ++place) of[place / 16][place / 4 % 4][place % 4] = 0;
  }
  GPUBP_HD float sum(int i, int j, int c) const { return of[i][j][c]; }

#if GPUBP_MATRIX_UNITS
  template <typename LinesA, typename LinesB>
  GPUBP_HD void add(const LinesA& a, const LinesB& b) {
    GPUBP_UNROLL
    for (int i = 0; i < DOWN; ++i) {
      GPUBP_UNROLL
      for (int j = 0; j < 4; ++j)
        multiply_bfloat16(of[i][j], pair_of(a, 2 * i, 0), pair_of(a, 2 * i + 1, 0),
                          pair_of(a, 2 * i, 2), pair_of(a, 2 * i + 1, 2), pair_of(b, j, 0),
                          pair_of(b, j, 2));
    }
  }
#endif
};

}  // namespace gpubp
