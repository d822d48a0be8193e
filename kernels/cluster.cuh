// What a kernel needs that does one launch after the other by itself: a place where all threads of
// its cluster meet, and matrix products.
#pragma once
#include "storage.cuh"

namespace gpubp {

// Wait until all threads of the cluster are here, and see all that they have written.
GPUBP_HD void meet() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release;\n\tbarrier.cluster.wait.acquire;" ::: "memory");
#endif
}

// A matrix in memory: from one row to the next, and from one column to the next.
template <typename T>
struct Matrix {
  T* data;
  int64 row, column;
  GPUBP_HD T& at(int64 i, int64 j) const { return data[i * row + j * column]; }
};

enum { PRODUCT_ROWS = 4 };  // of a column, which one thread sums at once

// Write out = scale a b, (rows, columns); each sum has `terms` in order. The threads of a warp have
// neighbouring columns, so they read b side by side and a together.
template <typename T>
GPUBP_HD void product(Matrix<const T> a, Matrix<const T> b, Matrix<T> out, int64 rows,
                      int64 columns, int64 terms, T scale, int64 thread, int64 threads) {
  const int64 tiles = (rows + PRODUCT_ROWS - 1) / PRODUCT_ROWS * columns;
  for (int64 tile = thread; tile < tiles; tile += threads) {
    const int64 first = tile / columns * PRODUCT_ROWS, column = tile % columns;
    const int64 last = rows - 1 - first;  // rows beyond it are read again, and not written
    T sums[PRODUCT_ROWS] = {};
    for (int64 k = 0; k < terms; ++k) {
      const T factor = b.at(k, column);
      for (int r = 0; r < PRODUCT_ROWS; ++r)
        sums[r] += a.at(first + (r < last ? r : last), k) * factor;
    }
    for (int r = 0; r < PRODUCT_ROWS; ++r)
      if (r <= last) out.at(first + r, column) = scale * sums[r];
  }
}

}  // namespace gpubp
