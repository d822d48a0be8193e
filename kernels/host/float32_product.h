// Products of float32 matrices by the instructions of AVX-512, for the shapes of training steps:
// where a BLAS packs both matrices first, they are read where they lie, or packed in larger blocks.
//
//   c = 0; for k = 0, 1, 2, ...: c = round(c + a[k] b[k])
#pragma once
#include "processor_level.h"
#include "tiled_product.h"

namespace gpubp {

struct Float32 {
  static const int depth = 1, words_together = 1, parts = 1, tile_rows = 8, tile_vectors = 3;
  static const bool packed = false, lines_of_a = false;
  // Only columns of b are packed, those of one tile; rows of a are not cut into blocks.
  static const int64 block_words = 512, block_rows = int64(1) << 40;
  static const int64 block_columns = tile_vectors * LANES;

  static Vector along(const float* from, int64 left) { return Vector::load(from, left); }
  static Vector across(const Lines& from, int64 lines, int64) {
    return Vector::load(from.data, lines);
  }
  static void add(Vector& sums, float word, Vector words) { sums.add_product(word, words); }
};

// Both matrices packed: each block of a and of b a part of the second cache.
struct PackedFloat32 : Float32 {
  static const bool packed = true;
  static const int64 block_words = 256, block_rows = 24 * tile_rows;
  static const int64 block_columns = 20 * tile_vectors * LANES;
};

// Whether packing pays. On an Intel Xeon (AMX) where b is not transposed and its rows lie so far
// apart that nearly each is on a page of its own, and are read often: 1.05 to 1.6 times as fast. On
// an AMD EPYC (Zen 4), which follows those, where a is so large that its second cache and much of
// the third do not hold it until the next columns of b read it again: 1.04 to 1.4 times as fast.
// Both about as OpenBLAS or faster.
inline bool packing_pays(bool amd, bool transpose_b, int64 m, int64 n, int64 k, int64 ldb) {
  return amd ? m * k > 2000000 && n >= 256 : !transpose_b && ldb >= 512 && m >= 128;
}

// Whether tiles are faster than OpenBLAS by a tenth or more: measured with OpenBLAS 0.3.31 on an
// AMD EPYC (Zen 4). That has kernels of its own for small products whose b is not transposed, and
// tiles lose where many lanes of their last column of vectors are idle.
inline bool tiles_pay(bool transpose_b, int64 m, int64 n, int64 k) {
  const int64 idle = (LANES - n % LANES) % LANES, multiplications = m * n * k;
  const bool large = m >= 4 && multiplications >= 1000000;
  return 8 * idle <= n && (transpose_b ? m >= 16 : large);
}

#if defined(__AVX512F__) && defined(__GNUC__)  // other compilers do not unroll the loops of a tile
const bool HAS_TILES = true;
#else
const bool HAS_TILES = false;
#endif

// c = scale a b by tiles, each of a and b or its transpose, rows ld apart.
inline void multiply_by_tiles(bool transpose_a, bool transpose_b, int64 m, int64 n, int64 k,
                              float scale, const float* a, int64 lda, const float* b, int64 ldb,
                              float* c, int64 ldc) {
  static const bool amd = is_of_amd();
  const bool packed = packing_pays(amd, transpose_b, m, n, k, ldb);
  const auto product = packed ? tiled_product<PackedFloat32> : tiled_product<Float32>;
  product(lines_of(a, lda, transpose_a), lines_of(b, ldb, !transpose_b), m, n, k, scale, c, ldc);
}

}  // namespace gpubp
