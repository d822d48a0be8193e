// Inputs embedded. Categories: y is the row of a table that the code selects; Gorishniy et al.
// 2021. Numbers by piecewise-linear bins: y = x w + c + (rows of the table before the bin that x
// lies in) + share * (its own row). Gorishniy, Rubachev and Babenko 2022, version B.
// `starts` tells where the bins of each embedded input begin; its edges begin as many numbers later
// as inputs lie before it.
#pragma once
#include "storage.cuh"

namespace gpubp {

// The bin that x lies in, below the first in the first, above the last in the last: how many of the
// inner edges are not above it.
template <typename T>
GPUBP_HD int64 bin_of(const T* edges, int64 bins, T x) {
  int64 low = 0, high = bins - 1;
  while (low < high) {
    const int64 middle = (low + high) / 2;
    if (edges[middle + 1] <= x) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

template <typename T>
GPUBP_HD T share_of_bin(const T* edges, int64 bin, T x) {
  return (x - edges[bin]) / (edges[bin + 1] - edges[bin]);
}

// The sum of the table's rows before each bin, for one input and one of the numbers that it
// becomes.
template <typename T>
GPUBP_HD void sum_before(const T* table, T* before, int64 first, int64 end, int64 width) {
  T sum = T(0);
  for (int64 bin = first; bin < end; ++bin) {
    before[bin * width] = sum;
    sum += table[bin * width];
  }
}

// The gradient by one number of the table: rows whose bin lies behind count whole, rows in the bin
// by their share. `cell`, `share` and `dy` are those of the first row.
template <typename T, typename S>
GPUBP_HD T table_gradient(const long long* cell, const T* share, const S* dy, int64 bin, int64 rows,
                          int64 inputs, int64 columns) {
  T sum = T(0);
  for (int64 row = 0; row < rows; ++row) {
    const int64 inside = cell[row * inputs];
    if (inside < bin) continue;
    const T d = widen<T>(dy[row * columns]);
    sum += inside > bin ? d : share[row * inputs] * d;
  }
  return sum;
}

// The row of the table of all categories that a code selects, of those from `first` to before
// `end`; -1 for a number that is no code of them.
template <typename T>
GPUBP_HD int64 row_of_code(T code, int64 first, int64 end) {
  if (!(code >= T(0) && code < T(end - first))) return -1;  // so is NaN
  const int64 whole = int64(code);
  return T(whole) == code ? first + whole : -1;
}

// The coded input that a row of the table of all belongs to.
GPUBP_HD int64 owner_of_row(const long long* starts, int64 coded, int64 row) {
  int64 low = 0, high = coded - 1;
  while (low < high) {
    const int64 middle = (low + high) / 2;
    if (starts[middle + 1] <= row) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

// The gradient by one number of a table: the sum over the rows whose code selects it. `place` and
// `dy` are those of the first row.
template <typename T>
GPUBP_HD T code_gradient(const long long* place, const T* dy, int64 own, int64 rows, int64 coded,
                         int64 columns) {
  T sum = T(0);
  for (int64 row = 0; row < rows; ++row)
    if (place[row * coded] == own) sum += dy[row * columns];
  return sum;
}

}  // namespace gpubp
