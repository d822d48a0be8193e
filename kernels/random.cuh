// Counter-based random numbers: Philox 4x64 with 10 rounds (Salmon et al. 2011, "Parallel random
// numbers: as easy as 1, 2, 3"), in the form and order of numpy.random.Philox.
#pragma once
#include "math.cuh"

namespace gpubp {

GPUBP_HD uint64 high_product(uint64 a, uint64 b) {
#ifdef __CUDA_ARCH__
  return __umul64hi(a, b);
#else
  const uint64 a_low = a & 0xffffffffULL, a_high = a >> 32;
  const uint64 b_low = b & 0xffffffffULL, b_high = b >> 32;
  const uint64 middle = a_high * b_low + (a_low * b_low >> 32);
  const uint64 carry = a_low * b_high + (middle & 0xffffffffULL);
  return a_high * b_high + (middle >> 32) + (carry >> 32);
#endif
}

// What its rounds multiply by, and what the key grows by from one to the next.
const uint64 MULTIPLIER_0 = 0xD2E7470EE14C6C93ULL, MULTIPLIER_1 = 0xCA5A826395121157ULL;
const uint64 KEY_STEP_0 = 0x9E3779B97F4A7C15ULL, KEY_STEP_1 = 0xBB67AE8584CAA73BULL;

// The 64-bit word `word` (0..3) of the block with counter (c0, c1, 0, 0) under the key (k0, k1).
GPUBP_HD uint64 philox(uint64 k0, uint64 k1, uint64 c0, uint64 c1, int word) {
  uint64 counter[4] = {c0, c1, 0, 0};
  for (int round = 0; round < 10; ++round) {
    const uint64 low0 = MULTIPLIER_0 * counter[0];
    const uint64 high0 = high_product(MULTIPLIER_0, counter[0]);
    const uint64 low1 = MULTIPLIER_1 * counter[2];
    const uint64 high1 = high_product(MULTIPLIER_1, counter[2]);
    counter[0] = high1 ^ counter[1] ^ k0;
    counter[1] = low1;
    counter[2] = high0 ^ counter[3] ^ k1;
    counter[3] = low0;
    k0 += KEY_STEP_0;
    k1 += KEY_STEP_1;
  }
  return counter[word];
}

// Element `index` of numpy.random.Generator(Philox(key=[seed, stream], counter=[0, step, 0, 0]))
// .random(dtype=float32): eight numbers of 24 bits a block; the first block of NumPy has c0 = 1.
GPUBP_HD float uniform(uint64 seed, uint64 stream, uint64 step, uint64 index) {
  const uint64 word = philox(seed, stream, index / 8 + 1, step, int(index / 2 % 4));
  const uint32 half = uint32(index % 2 ? word >> 32 : word);
  return float(half >> 8) * (1.0f / 16777216.0f);
}

// Element `index` of what gpubp.backends.random.permutation sorts: random bits above, the row's own
// number in the bits of `mask` below, so that no two keys are equal.
GPUBP_HD uint64 shuffle_key(uint64 seed, uint64 stream, uint64 epoch, uint64 index, uint64 mask) {
  return (philox(seed, stream, index / 4 + 1, epoch, int(index % 4)) & ~mask) | index;
}

// Inverted dropout: drop with probability `rate`, scale what is kept by 1 / (1 - rate).
template <typename T>
GPUBP_HD T dropout(T x, uint64 seed, uint64 stream, uint64 step, uint64 index, float rate) {
  return uniform(seed, stream, step, index) < rate ? T(0) : x / (T(1) - T(rate));
}

}  // namespace gpubp
