// Products whose right matrix is packed once and multiplied often.
#pragma once
#include <cstdint>

namespace gpubp {

// How a module does them.
struct PackedProduct {
  // how many numbers of memory n columns of k numbers take
  std::int64_t (*size)(std::int64_t n, std::int64_t k);
  // pack b, k x n, or its transpose
  void (*pack)(bool transpose_b, std::int64_t n, std::int64_t k, const float* b, std::int64_t ldb,
               float* packed);
  // c = scale a b, m x n, where what c held is not read
  void (*multiply)(std::int64_t m, std::int64_t n, std::int64_t k, float scale, const float* a,
                   std::int64_t lda, const float* packed, float* c, std::int64_t ldc);
};

}  // namespace gpubp
