// The widest instruction set that this processor and its operating system offer to the kernels.
#pragma once
#include <cstring>
#if defined(_MSC_VER) && defined(_M_X64)
#include <immintrin.h>
#include <intrin.h>
#elif defined(__GNUC__) && defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__) && defined(__x86_64__)
#include <sys/syscall.h>
#include <unistd.h>
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

// Read what the processor says of itself in a leaf: EAX, EBX, ECX and EDX; false where it does not.
inline bool read_leaf(unsigned number, unsigned subleaf, unsigned (&leaf)[4]) {
#if defined(__GNUC__) && defined(__x86_64__)
  return __get_cpuid_count(number, subleaf, &leaf[0], &leaf[1], &leaf[2], &leaf[3]);
#elif defined(_MSC_VER) && defined(_M_X64)
  __cpuidex(reinterpret_cast<int*>(leaf), static_cast<int>(number), static_cast<int>(subleaf));
  return true;
#else
  (void)number, (void)subleaf, (void)leaf;
  return false;
#endif
}

// Whether it is one of AMD's, by the first four letters of "AuthenticAMD" in EBX of leaf 0.
inline bool is_of_amd() {
  unsigned leaf[4];
  return read_leaf(0, 0, leaf) && leaf[1] == 0x68747541;
}

// Whether it has the instructions of AVX512-BF16 besides: bit 5 of EAX in leaf 7, subleaf 1.
inline bool multiplies_bfloat16() {
  unsigned leaf[4];
  return std::strcmp(processor_level(), "avx512") == 0 && read_leaf(7, 1, leaf) && leaf[0] >> 5 & 1;
}

// Whether it has those of AMX besides, AMX-BF16 and AMX-TILE: bits 22 and 24 of EDX in leaf 7; and
// whether Linux gives this process their registers, for which a process has to ask
// (Documentation/arch/x86/xstate.rst).
inline bool multiplies_squares() {
#if defined(__linux__) && defined(__x86_64__)
  const unsigned both = 1u << 22 | 1u << 24;
  const long ask = 0x1023, registers = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  unsigned leaf[4];
  return multiplies_bfloat16() && read_leaf(7, 0, leaf) && (leaf[3] & both) == both &&
         syscall(SYS_arch_prctl, ask, registers) == 0;
#else
  return false;
#endif
}

// The module of the fastest products in bfloat16; "" where none is faster than float32: Intel's
// processors do one VDPBF16PS in the time of two fused multiply-adds, and so gain nothing by it.
inline const char* bfloat16_module() {
  if (multiplies_squares()) return "amx";
  return multiplies_bfloat16() && is_of_amd() ? "avx512bf16" : "";
}

}  // namespace gpubp
