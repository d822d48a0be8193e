// Dropout masks on the CPU: the numbers of random.cuh, eight for the price of one.
#pragma once
#include <algorithm>
#include <cmath>

#include "../random.cuh"

namespace gpubp {

inline uint64 multiply_wide(uint64 a, uint64 b, uint64& low) {
#ifdef __SIZEOF_INT128__
  const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
  low = static_cast<uint64>(product);
  return static_cast<uint64>(product >> 64);
#else
  low = a * b;
  return high_product(a, b);
#endif
}

const int BLOCKS = 4;  // at a time, so that one's products are worked on while another's are ready

// All four words of each of the blocks from `first` on, with counters (block, c1, 0, 0); `philox`
// gives one word of one.
inline void philox_blocks(uint64 k0, uint64 k1, uint64 first, uint64 c1, uint64 (*words)[4]) {
  for (int b = 0; b < BLOCKS; ++b) {
    words[b][0] = first + static_cast<uint64>(b);
    words[b][1] = c1;
    words[b][2] = words[b][3] = 0;
  }
  for (int round = 0; round < 10; ++round) {
    for (int b = 0; b < BLOCKS; ++b) {
      uint64* w = words[b];
      uint64 low0, low1;
      const uint64 high0 = multiply_wide(0xD2E7470EE14C6C93ULL, w[0], low0);
      const uint64 high1 = multiply_wide(0xCA5A826395121157ULL, w[2], low1);
      w[0] = high1 ^ w[1] ^ k0;
      w[1] = low1;
      w[2] = high0 ^ w[3] ^ k1;
      w[3] = low0;
    }
    k0 += 0x9E3779B97F4A7C15ULL;
    k1 += 0xBB67AE8584CAA73BULL;
  }
}

// Write 1 for each element from `first` on that is dropped: whose `uniform` is below the rate.
inline void draw_mask(uint64 seed, uint64 stream, uint64 step, int64 first, int64 count, float rate,
                      unsigned char* mask) {
  const int64 end = first + count, at_once = 8 * BLOCKS;
  // a number is its upper 24 bits times 2^-24
  const uint32 limit = static_cast<uint32>(std::ceil(static_cast<double>(rate) * 16777216.0));
  for (int64 start = first / 8 * 8; start < end; start += at_once) {
    uint64 words[BLOCKS][4];
    unsigned char drawn[8 * BLOCKS];
    // NumPy's first block has number 1
    philox_blocks(seed, stream, static_cast<uint64>(start / 8) + 1, step, words);
    for (int b = 0; b < BLOCKS; ++b)
      for (int word = 0; word < 4; ++word) {
        const uint64 both = words[b][word];
        drawn[b * 8 + word * 2] = static_cast<uint32>(both) >> 8 < limit;
        drawn[b * 8 + word * 2 + 1] = static_cast<uint32>(both >> 40) < limit;
      }
    const int64 from = std::max(first, start), to = std::min(end, start + at_once);
    std::copy(drawn + (from - start), drawn + (to - start), mask + (from - first));
  }
}

}  // namespace gpubp
