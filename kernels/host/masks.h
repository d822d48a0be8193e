// Dropout masks on the CPU: the numbers of random.cuh, a block of eight at a time.
#pragma once
#include "../random.cuh"

namespace gpubp {

inline void multiply_wide(uint64 a, uint64 b, uint64& high, uint64& low) {
#ifdef __SIZEOF_INT128__
  const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
  high = static_cast<uint64>(product >> 64);
  low = static_cast<uint64>(product);
#else
  high = high_product(a, b);
  low = a * b;
#endif
}

// All four words of the block with counter (c0, c1, 0, 0); see `philox`.
inline void philox_block(uint64 k0, uint64 k1, uint64 c0, uint64 c1, uint64* words) {
  uint64 counter[4] = {c0, c1, 0, 0};
  for (int round = 0; round < 10; ++round) {
    uint64 high0, low0, high1, low1;
    multiply_wide(0xD2E7470EE14C6C93ULL, counter[0], high0, low0);
    multiply_wide(0xCA5A826395121157ULL, counter[2], high1, low1);
    counter[0] = high1 ^ counter[1] ^ k0;
    counter[1] = low1;
    counter[2] = high0 ^ counter[3] ^ k1;
    counter[3] = low0;
    k0 += 0x9E3779B97F4A7C15ULL;
    k1 += 0xBB67AE8584CAA73BULL;
  }
  for (int word = 0; word < 4; ++word) words[word] = counter[word];
}

// Write 1 for each element from `first` on that is dropped: whose `uniform` is below the rate.
inline void draw_mask(uint64 seed, uint64 stream, uint64 step, int64 first, int64 count, float rate,
                      unsigned char* mask) {
  const int64 end = first + count;
  for (int64 block = first / 8; block * 8 < end; ++block) {
    uint64 words[4];
    philox_block(seed, stream, static_cast<uint64>(block) + 1, step, words);
    unsigned char drawn[8];
    for (int i = 0; i < 8; ++i) {
      const uint32 half = static_cast<uint32>(i % 2 ? words[i / 2] >> 32 : words[i / 2]);
      drawn[i] = static_cast<float>(half >> 8) * (1.0f / 16777216.0f) < rate;
    }
    const int64 low = block * 8 < first ? first - block * 8 : 0;
    const int64 high = block * 8 + 8 > end ? end - block * 8 : 8;
    for (int64 i = low; i < high; ++i) mask[block * 8 + i - first] = drawn[i];
  }
}

}  // namespace gpubp
