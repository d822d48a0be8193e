// Numbers below the smallest normal one (1e-38 in float32) taken as zero while an object of this
// class lives. The moments of a weight that gets no gradient any more fade through them for
// thousands of steps, and a processor computes with them tens of times slower. A GPU's kernels,
// compiled with -ftz=true, do the same.
#pragma once
#if defined(__SSE2__) || defined(_M_X64)
#include <xmmintrin.h>
#elif defined(__aarch64__)
#include <cstdint>
#endif

namespace gpubp {

class FlushSubnormals {
 public:
#if defined(__SSE2__) || defined(_M_X64)
  FlushSubnormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
  ~FlushSubnormals() { _mm_setcsr(before_); }

 private:
  unsigned before_;
#elif defined(__aarch64__) && defined(__GNUC__)
  FlushSubnormals() {
    __asm__ volatile("mrs %0, fpcr" : "=r"(before_));
    __asm__ volatile("msr fpcr, %0" : : "r"(before_ | (std::uint64_t(1) << 24)));
  }
  ~FlushSubnormals() { __asm__ volatile("msr fpcr, %0" : : "r"(before_)); }

 private:
  std::uint64_t before_;
#else
  FlushSubnormals() {}
#endif
};

// The same of one number.
inline float flushed(float value) {
  const float smallest = 1.17549435e-38f;
  return value > -smallest && value < smallest ? 0 : value;
}

}  // namespace gpubp
