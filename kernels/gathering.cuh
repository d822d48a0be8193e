// The rows of a batch, in the order of an epoch, and data of another dtype converted on the way.
#pragma once
#include "blocks.cuh"

namespace gpubp {

// A stored input, multiplied by `scale`, as a batch holds it.
template <typename X, typename S>
GPUBP_HD void gathered(X stored, double scale, S& out) {
  typedef typename Computed<S>::type T;
  narrow(T(widen<T>(stored) * T(scale)), out);
}

// a / b of numbers that are not negative. A GPU divides numbers of 64 bits in many more
// instructions than those of 32, in which most fit.
GPUBP_HD int64 quotient(int64 a, int64 b) {
  return (a | b) >> 32 ? a / b : int64(uint32(a) / uint32(b));
}

// Element i of a batch whose rows of x are `order[first]` and those that follow.
template <typename Array, typename Order, typename S>
GPUBP_HD void gather_element(const Array& x, const Order& order, int64 first, int64 columns,
                             double scale, int64 i, S& out) {
  const int64 row = quotient(i, columns);
  gathered(x[order[first + row] * columns + (i - row * columns)], scale, out);
}

// Elements i to i + 3 of a batch, which are neighbours in a row, as often as can be in one go.
template <typename X, typename Order, typename S>
GPUBP_HD void gather_four(const X* x, const Order& order, int64 first, int64 columns, double scale,
                          int64 i, S* out) {
  const int64 row = quotient(i, columns);
  const X* from = x + order[first + row] * columns + (i - row * columns);
  Stored<X, 4> found;
  if (uint64(from) % sizeof found == 0)
    read_some<true>(from, 4, found);
  else
    read_some<false>(from, 4, found);
  for (int j = 0; j < 4; ++j) gathered(found.value[j], scale, out[i + j]);
}

}  // namespace gpubp
