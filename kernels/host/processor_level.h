// The widest instruction set that this processor and its operating system offer to the kernels.
#pragma once
#include <cstring>
#if defined(_MSC_VER) && defined(_M_X64)
#include <immintrin.h>
#include <intrin.h>
#elif defined(__GNUC__) && defined(__x86_64__)
#include <cpuid.h>
#endif

namespace gpubp {

// "avx512" stands for what its module is compiled with: F, BW, DQ and VL; "avx2" for AVX2 and FMA.
inline const char* processor_level() {
  const char* found = "baseline";
#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found = "avx2";
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    found = "avx512";
#elif defined(_MSC_VER) && defined(_M_X64)
  int leaf1[4], leaf7[4];
  __cpuidex(leaf1, 1, 0);
  __cpuidex(leaf7, 7, 0);
  const bool saves = leaf1[2] >> 27 & 1;  // the system saves wide registers: ask which
  const unsigned long long state = saves ? _xgetbv(0) : 0;
  const unsigned wide = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;  // F, DQ, BW, VL
  if ((state & 0x06) == 0x06 && leaf1[2] >> 12 & 1 && leaf7[1] >> 5 & 1) found = "avx2";
  if ((state & 0xe6) == 0xe6 && (static_cast<unsigned>(leaf7[1]) & wide) == wide) found = "avx512";
#endif
  return found;
}

// Whether it has the instructions of AVX512-BF16 besides: bit 5 of EAX in leaf 7, subleaf 1.
inline bool multiplies_bfloat16() {
  if (std::strcmp(processor_level(), "avx512") != 0) return false;
  unsigned leaf[4] = {0, 0, 0, 0};
#if defined(__GNUC__) && defined(__x86_64__)
  if (!__get_cpuid_count(7, 1, &leaf[0], &leaf[1], &leaf[2], &leaf[3])) return false;
#elif defined(_MSC_VER) && defined(_M_X64)
  __cpuidex(reinterpret_cast<int*>(leaf), 7, 1);
#endif
  return leaf[0] >> 5 & 1;
}

}  // namespace gpubp
