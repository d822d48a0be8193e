// Matrix products of a step: by BLAS, or by tiles where they are faster.
#pragma once
#include "float32_product.h"

namespace gpubp {

// cblas_sgemm and cblas_dgemm, with dimensions of 32 or 64 bits, and whether tiles may stand in for
// the first.
struct Blas {
  void* single = nullptr;
  void* both_double = nullptr;
  bool wide = false, tiled = false;
};

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

// Whether tiles do such a product: only of float32.
template <typename T>
bool are_tiled(const Blas& blas, bool transpose_b, int64 m, int64 n, int64 k) {
  return HAS_TILES && blas.tiled && sizeof(T) == 4 && tiles_pay(transpose_b, m, n, k);
}

// c = scale a b, each of a and b or its transpose, rows ld apart
template <typename T>
void multiply_by(bool tiles, const Blas& blas, bool transpose_a, bool transpose_b, int64 m, int64 n,
                 int64 k, T scale, const T* a, int64 lda, const T* b, int64 ldb, T* c, int64 ldc) {
  if (m == 0 || n == 0 || k == 0) return;
  if (tiles)
    return multiply_by_tiles(transpose_a, transpose_b, m, n, k, scale, a, lda, b, ldb, c, ldc);
  void* address = sizeof(T) == 4 ? blas.single : blas.both_double;
  const auto gemm = blas.wide ? call_gemm<std::int64_t, T> : call_gemm<std::int32_t, T>;
  gemm(address, transpose_a, transpose_b, m, n, k, scale, a, lda, b, ldb, c, ldc);
}

// The same by whichever is faster.
template <typename T>
void multiply(const Blas& blas, bool transpose_a, bool transpose_b, int64 m, int64 n, int64 k,
              T scale, const T* a, int64 lda, const T* b, int64 ldb, T* c, int64 ldc) {
  const bool tiles = are_tiled<T>(blas, transpose_b, m, n, k);
  multiply_by(tiles, blas, transpose_a, transpose_b, m, n, k, scale, a, lda, b, ldb, c, ldc);
}

}  // namespace gpubp
