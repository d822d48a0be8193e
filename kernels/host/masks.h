// Dropout masks on the CPU: the numbers of random.cuh, eight for the price of one.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstring>

#include "../random.cuh"
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace gpubp {

// How many blocks are drawn at a time, so that one's products are worked on while another's are
// ready: as many as fit the registers. With AVX-512 each of 8 blocks has a lane of a vector.
const int FEW_BLOCKS = 2;
#if defined(__AVX512F__)
const int MANY_BLOCKS = 8;
#else
const int MANY_BLOCKS = FEW_BLOCKS;
#endif

// The upper half of a product, and its lower half.
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

inline uint64 exclusive_or(uint64 a, uint64 b, uint64 key) { return a ^ b ^ key; }

// One round of Philox on the four words of a block, or of several side by side.
template <typename Word>
void philox_round(Word& w0, Word& w1, Word& w2, Word& w3, uint64 k0, uint64 k1) {
  Word low0, low1;
  const Word high0 = multiply_wide(w0, MULTIPLIER_0, low0);
  const Word high1 = multiply_wide(w2, MULTIPLIER_1, low1);
  w0 = exclusive_or(high1, w1, k0);
  w1 = low1;
  w2 = exclusive_or(high0, w3, k1);
  w3 = low0;
}

// All four words of each of the blocks from `first` on, with counters (block, c1, 0, 0); `philox`
// gives one word of one.
template <int blocks>
void philox_blocks(uint64 k0, uint64 k1, uint64 first, uint64 c1, uint64 (&words)[4][blocks]) {
  for (int b = 0; b < blocks; ++b) {
    words[0][b] = first + static_cast<uint64>(b);
    words[1][b] = c1;
    words[2][b] = words[3][b] = 0;
  }
  for (int round = 0; round < 10; ++round) {
    for (int b = 0; b < blocks; ++b)
      philox_round(words[0][b], words[1][b], words[2][b], words[3][b], k0, k1);
    k0 += KEY_STEP_0;
    k1 += KEY_STEP_1;
  }
}

#if defined(__AVX512F__)

// Eight numbers of 64 bits side by side.
struct EightWords {
  __m512i lanes;

  static EightWords all(uint64 number) { return {_mm512_set1_epi64(static_cast<int64>(number))}; }
  EightWords upper() const { return {_mm512_srli_epi64(lanes, 32)}; }
  EightWords plus(EightWords other) const { return {_mm512_add_epi64(lanes, other.lanes)}; }
  // The products of the lower halves.
  EightWords times(EightWords other) const { return {_mm512_mul_epu32(lanes, other.lanes)}; }
};

// What `multiply_wide` returns, of four products of halves: none is done twice for the lower half.
inline EightWords multiply_wide(EightWords a, uint64 b, EightWords& low) {
  const EightWords lower = EightWords::all(b & 0xffffffff), upper = EightWords::all(b >> 32);
  const EightWords first = a.times(lower), middle = a.upper().times(lower).plus(first.upper());
  const EightWords halves{_mm512_and_si512(middle.lanes, _mm512_set1_epi64(0xffffffff))};
  const EightWords carry = a.times(upper).plus(halves);
  low.lanes = _mm512_mask_blend_epi32(0xaaaa, first.lanes, _mm512_slli_epi64(carry.lanes, 32));
  return a.upper().times(upper).plus(middle.upper()).plus(carry.upper());
}

inline EightWords exclusive_or(EightWords a, EightWords b, uint64 key) {
  const __m512i both = _mm512_xor_si512(a.lanes, b.lanes);
  return {_mm512_xor_si512(both, EightWords::all(key).lanes)};
}

template <>
inline void philox_blocks(uint64 k0, uint64 k1, uint64 first, uint64 c1, uint64 (&words)[4][8]) {
  EightWords w0 = EightWords::all(first).plus({_mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0)});
  EightWords w1 = EightWords::all(c1), w2 = EightWords::all(0), w3 = w2;
  for (int round = 0; round < 10; ++round) {
    philox_round(w0, w1, w2, w3, k0, k1);
    k0 += KEY_STEP_0;
    k1 += KEY_STEP_1;
  }
  const EightWords found[4] = {w0, w1, w2, w3};
  for (int word = 0; word < 4; ++word) _mm512_storeu_si512(words[word], found[word].lanes);
}

#endif

// Write 1 for each of eight elements a block that is below the limit: by bytes.
inline void mark(const uint64 (&words)[4][FEW_BLOCKS], uint32 limit, unsigned char* drawn) {
  for (int b = 0; b < FEW_BLOCKS; ++b)
    for (int word = 0; word < 4; ++word) {
      const uint64 both = words[word][b];
      drawn[8 * b + 2 * word] = static_cast<uint32>(both) >> 8 < limit;
      drawn[8 * b + 2 * word + 1] = static_cast<uint32>(both >> 40) < limit;
    }
}

// The same by vectors: eight bytes a lane, in the order of little-endian processors.
template <int blocks>
void mark(const uint64 (&words)[4][blocks], uint32 limit, unsigned char* drawn) {
  uint64 marks[blocks];
  for (int b = 0; b < blocks; ++b) {
    marks[b] = 0;
    for (int word = 0; word < 4; ++word) {
      const uint64 low = words[word][b] >> 8 & 0xffffff, high = words[word][b] >> 40;
      marks[b] |= uint64(low < limit) << (16 * word) | uint64(high < limit) << (16 * word + 8);
    }
  }
  std::memcpy(drawn, marks, sizeof marks);
}

template <int blocks>
void draw_mask_by(uint64 seed, uint64 stream, uint64 step, int64 first, int64 end, uint32 limit,
                  unsigned char* mask) {
  const int64 at_once = 8 * blocks;
  for (int64 start = first / 8 * 8; start < end; start += at_once) {
    uint64 words[4][blocks];
    unsigned char drawn[8 * blocks];
    // NumPy's first block has number 1
    philox_blocks(seed, stream, static_cast<uint64>(start / 8) + 1, step, words);
    mark(words, limit, drawn);
    const int64 from = std::max(first, start), to = std::min(end, start + at_once);
    std::copy(drawn + (from - start), drawn + (to - start), mask + (from - first));
  }
}

// Write 1 for each element from `first` on that is dropped: whose `uniform` is below the rate.
inline void draw_mask(uint64 seed, uint64 stream, uint64 step, int64 first, int64 count, float rate,
                      unsigned char* mask) {
  // a number is its upper 24 bits times 2^-24
  const uint32 limit = static_cast<uint32>(std::ceil(static_cast<double>(rate) * 16777216.0));
  const int64 end = first + count, wide = 8 * MANY_BLOCKS;
  const int64 middle = std::max(first, end - (end - first / 8 * 8) % wide);
  draw_mask_by<MANY_BLOCKS>(seed, stream, step, first, middle, limit, mask);
  draw_mask_by<FEW_BLOCKS>(seed, stream, step, middle, end, limit, mask + (middle - first));
}

}  // namespace gpubp
