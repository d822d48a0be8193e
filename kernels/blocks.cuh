// Kernels whose threads work together, block by block: what they share, and numbers by fours.
#pragma once
#include "storage.cuh"

#ifdef __CUDACC__
#define GPUBP_UNROLL _Pragma("unroll")
#define GPUBP_PRAGMA(text) _Pragma(#text)
#define GPUBP_UNROLL_BY(count) GPUBP_PRAGMA(unroll count)
#define GPUBP_ALIASING
#else
#define GPUBP_UNROLL
#define GPUBP_UNROLL_BY(count)
#define GPUBP_ALIASING [[gnu::may_alias]]
#endif

namespace gpubp {

// The threads of a block, each with a state of its own. What they do is written as steps, after
// each of which all see what all have written. On the host one does it for all.
template <int COUNT, typename State>
struct Block {
#ifdef __CUDA_ARCH__
  State own;
  template <typename Step>
  GPUBP_HD void each(Step step) {
    step(int(threadIdx.x), own);
    __syncthreads();
  }
#else
  State all[COUNT];
  template <typename Step>
  void each(Step step) {
    for (int thread = 0; thread < COUNT; ++thread) step(thread, all[thread]);
  }
#endif
};

// Have a number that is read later on its way to the cache.
GPUBP_HD void fetch(const void* at) {
#ifdef __CUDA_ARCH__
  asm volatile("prefetch.global.L1 [%0];" ::"l"(at));
#else
  (void)at;
#endif
}

// Neighbouring numbers as they are stored, which one instruction can read.
template <typename S, int COUNT>
struct GPUBP_ALIASING alignas(COUNT * sizeof(S)) Stored {
  S value[COUNT];
};

typedef Stored<float, 4> Four;

GPUBP_HD Four four_at(const float* memory) { return *reinterpret_cast<const Four*>(memory); }

// On the host a wrong address ends the process, as it ends a kernel on a GPU.
template <typename S, int COUNT>
GPUBP_HD void expect_aligned(const S* at) {
#ifndef __CUDACC__
  if (uint64(at) % (COUNT * sizeof(S))) __builtin_trap();
#else
  (void)at;
#endif
}

// Read so many of some neighbours, and zeros for the others: FOURS says that they are aligned, and
// that it is all or none. There is no branch, so that many reads are on their way at once.
template <bool FOURS, typename S, int COUNT>
GPUBP_HD void read_some(const S* at, int64 count, Stored<S, COUNT>& own) {
  if (FOURS) {
    if (count > 0) expect_aligned<S, COUNT>(at);
    own = count > 0 ? *reinterpret_cast<const Stored<S, COUNT>*>(at) : Stored<S, COUNT>{};
  } else {
    GPUBP_UNROLL
    for (int j = 0; j < COUNT; ++j) own.value[j] = j < count ? at[j] : S(0);
  }
}

template <bool FOURS, typename S, int COUNT>
GPUBP_HD void write_some(S* at, int64 count, const Stored<S, COUNT>& own) {
  if (FOURS) {
    if (count <= 0) return;
    expect_aligned<S, COUNT>(at);
    *reinterpret_cast<Stored<S, COUNT>*>(at) = own;
  } else {
    GPUBP_UNROLL
    for (int j = 0; j < COUNT; ++j)
      if (j < count) at[j] = own.value[j];
  }
}

}  // namespace gpubp
