// How the elements of a row are shared out: all to one thread, or every 32nd to a lane of a warp.
#pragma once
#include "math.cuh"

namespace gpubp {

struct OneLane {
  GPUBP_HD int64 first() const { return 0; }
  GPUBP_HD int64 step() const { return 1; }
  GPUBP_HD void wait() const {}
  template <typename T>
  GPUBP_HD T sum(T value) const {
    return value;
  }
  template <typename T>
  GPUBP_HD T largest(T value) const {
    return value;
  }
};

// The 32 threads of a warp call every function together. On the host they run one after the other
// and cannot exchange values: there the first does the whole row and the others nothing.
struct Warp {
  int lane;
  GPUBP_HD explicit Warp(int64 thread) : lane(int(thread % 32)) {}
  GPUBP_HD bool leads() const { return lane == 0; }
#ifdef __CUDA_ARCH__
  GPUBP_HD int64 first() const { return lane; }
  GPUBP_HD int64 step() const { return 32; }
  GPUBP_HD void wait() const { __syncwarp(); }
  template <typename T>
  GPUBP_HD T sum(T value) const {
    for (int mask = 16; mask; mask /= 2) value += __shfl_xor_sync(0xffffffffu, value, mask);
    return value;
  }
  template <typename T>
  GPUBP_HD T largest(T value) const {
    for (int mask = 16; mask; mask /= 2) {
      const T other = __shfl_xor_sync(0xffffffffu, value, mask);
      value = other > value ? other : value;
    }
    return value;
  }
#else
  GPUBP_HD int64 first() const { return lane ? 1LL << 62 : 0; }
  GPUBP_HD int64 step() const { return 1; }
  GPUBP_HD void wait() const {}
  template <typename T>
  GPUBP_HD T sum(T value) const {
    return value;
  }
  template <typename T>
  GPUBP_HD T largest(T value) const {
    return value;
  }
#endif
};

// The sum of `count` numbers that lie `stride` apart, in an order that depends on nothing else.
template <typename T, typename Lanes>
GPUBP_HD T strided_sum(const T* x, int64 count, int64 stride, Lanes lanes) {
  T sum = T(0);
  for (int64 j = lanes.first(); j < count; j += lanes.step()) sum += x[j * stride];
  return lanes.sum(sum);
}

}  // namespace gpubp
