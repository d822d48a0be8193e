// Matrix products of a step: by BLAS, or by tiles or squares where they are faster.
#pragma once
#include "float32_product.h"
#include "packed_product.h"

namespace gpubp {

// cblas_sgemm and cblas_dgemm, with dimensions of 32 or 64 bits, and what may stand in for the
// first: tiles, and a function of squares, called as it is with dimensions of 64 bits, or with a
// right matrix that is packed.
struct Blas {
  void* single = nullptr;
  void* both_double = nullptr;
  bool wide = false, tiled = false;
  void* squares = nullptr;
  const PackedProduct* packed = nullptr;
};

enum Way { BY_BLAS, BY_TILES, BY_SQUARES };

template <typename Integer, typename T>
void call_gemm(void* address, bool transpose_a, bool transpose_b, int64 m, int64 n, int64 k,
               T scale, const T* a, int64 lda, const T* b, int64 ldb, T* c, int64 ldc) {
  typedef void (*Gemm)(int, int, int, Integer, Integer, Integer, T, const T*, Integer, const T*,
                       Integer, T, T*, Integer);
  const int row_major = 101, no_transpose = 111, transpose = 112;
  reinterpret_cast<Gemm>(address)(row_major, transpose_a ? transpose : no_transpose,
                                  transpose_b ? transpose : no_transpose, Integer(m), Integer(n),
                                  Integer(k), scale, a, Integer(lda), b, Integer(ldb), T(0), c,
                                  Integer(ldc));
}

inline void multiply_by_tiles(bool, bool, int64, int64, int64, double, const double*, int64,
                              const double*, int64, double*, int64) {}

// Whether squares are faster than tiles and BLAS: where each number that is packed is multiplied
// often enough. Measured on an Intel Xeon (AMX): 1.0 to 1.2 times as fast at this bound, 1.3 to 2.2
// times well beyond it.
inline bool squares_pay(bool transpose_b, int64 m, int64 n, int64 k) {
  const int64 often = transpose_b ? 28 : 48;  // the others pack a transposed b too
  return k >= 24 && m * n >= often * (m + n);
}

// Return how such a product is done; all but BLAS only know float32.
template <typename T>
Way way_of(const Blas& blas, bool transpose_b, int64 m, int64 n, int64 k) {
  if (sizeof(T) != 4) return BY_BLAS;
  if (blas.squares && squares_pay(transpose_b, m, n, k)) return BY_SQUARES;
  return HAS_TILES && blas.tiled && tiles_pay(transpose_b, m, n, k) ? BY_TILES : BY_BLAS;
}

// c = scale a b, each of a and b or its transpose, rows ld apart
template <typename T>
void multiply_by(Way way, const Blas& blas, bool transpose_a, bool transpose_b, int64 m, int64 n,
                 int64 k, T scale, const T* a, int64 lda, const T* b, int64 ldb, T* c, int64 ldc) {
  if (m == 0 || n == 0 || k == 0) return;
  if (way == BY_TILES)
    return multiply_by_tiles(transpose_a, transpose_b, m, n, k, scale, a, lda, b, ldb, c, ldc);
  void* of_type = sizeof(T) == 4 ? blas.single : blas.both_double;
  const bool wide = way == BY_SQUARES || blas.wide;
  const auto gemm = wide ? call_gemm<std::int64_t, T> : call_gemm<std::int32_t, T>;
  gemm(way == BY_SQUARES ? blas.squares : of_type, transpose_a, transpose_b, m, n, k, scale, a, lda,
       b, ldb, c, ldc);
}

// The same by whichever is fastest.
template <typename T>
void multiply(const Blas& blas, bool transpose_a, bool transpose_b, int64 m, int64 n, int64 k,
              T scale, const T* a, int64 lda, const T* b, int64 ldb, T* c, int64 ldc) {
  const Way way = way_of<T>(blas, transpose_b, m, n, k);
  multiply_by(way, blas, transpose_a, transpose_b, m, n, k, scale, a, lda, b, ldb, c, ldc);
}

}  // namespace gpubp
