// Numbers embedded by piecewise-linear bins within a step; see embeddings.cuh.
#pragma once
#include "../embeddings.cuh"
#include "calls.h"

namespace gpubp {

// What the bins of all inputs are: edges, starts, columns, others, from `place` on.
template <typename T>
struct BinTable {
  const T* edges;
  const int64 *starts, *columns, *others;
  int64 embedded, passing, count;

  BinTable(const Call& call, size_t place)
      : edges(call.matrix<T>(place).data),
        starts(call.matrix<int64>(place + 1).data),
        columns(call.matrix<int64>(place + 2).data),
        others(call.matrix<int64>(place + 3).data),
        embedded(call.matrix<int64>(place + 2).size()),
        passing(call.matrix<int64>(place + 3).size()),
        count(call.matrix<T>(place).size() - embedded) {}
};

// find_bins(x, cell, share, bins...)
template <typename T>
void add_find_bins(Program& program, const Call& call, const Blas&) {
  const BinTable<T> bins(call, 3);
  const Matrix<T> x = call.matrix<T>(0), share = call.like<T>(2, x.rows, bins.embedded);
  const Matrix<int64> cell = call.like<int64>(1, x.rows, bins.embedded);
  Phase& phase = program.add(ROWS, x.rows, x.columns);
  phase.reads = {matrix_of(x)};
  phase.writes = {down(cell.data, bins.embedded), down(share.data, bins.embedded)};
  phase.work = [=](const Member&, const Share& s) {
    for (int64 row = s.rows.first; row < s.rows.end(); ++row)
      for (int64 f = 0; f < bins.embedded; ++f) {
        const T* edges = bins.edges + bins.starts[f] + f;
        const T value = x.data[row * x.columns + bins.columns[f]];
        const int64 bin = bin_of(edges, bins.starts[f + 1] - bins.starts[f], value);
        cell.data[row * bins.embedded + f] = bin;
        share.data[row * bins.embedded + f] = share_of_bin(edges, bin, value);
      }
  };
}

// embed_numbers(x, cell, share, bins..., weight, bias, table, y)
template <typename T>
void add_embed_numbers(Program& program, const Call& call, const Blas&) {
  const BinTable<T> bins(call, 3);
  const Matrix<T> x = call.matrix<T>(0), weight = call.matrix<T>(7), y = call.matrix<T>(10);
  const int64 width = weight.columns, embedded = bins.embedded;
  const int64* cell = call.array<int64>(1, x.rows * embedded);
  const T *share = call.array<T>(2, x.rows * embedded), *bias = call.array<T>(8, weight.size());
  const T* table = call.array<T>(9, bins.count * width);
  if (y.rows != x.rows || y.columns != embedded * width + bins.passing)
    throw Refusal("the embedding has another width");
  T* before = program.room<T>(bins.count * width);
  Phase& sums = program.add(COLUMNS, 1, embedded * width);
  sums.reads = {whole(table, bins.count * width * int64(sizeof(T)))};
  sums.writes = {whole(before, bins.count * width * int64(sizeof(T)))};
  sums.work = [=](const Member&, const Share& s) {
    for (int64 i = s.columns.first; i < s.columns.end(); ++i)
      sum_before(table + i % width, before + i % width, bins.starts[i / width],
                 bins.starts[i / width + 1], width);
  };
  Phase& phase = program.add(ROWS, x.rows, y.columns);
  phase.reads = {down(x.data, x.columns),
                 down(cell, embedded),
                 down(share, embedded),
                 whole_of(weight),
                 whole(bias, weight.size() * int64(sizeof(T))),
                 whole(table, bins.count * width * int64(sizeof(T))),
                 whole(before, bins.count * width * int64(sizeof(T)))};
  phase.writes = {matrix_of(y)};
  phase.work = [=](const Member&, const Share& s) {
    for (int64 row = s.rows.first; row < s.rows.end(); ++row) {
      const T* in = x.data + row * x.columns;
      T* out = y.data + row * y.columns;
      for (int64 f = 0; f < embedded; ++f, out += width) {
        const int64 at = (bins.starts[f] + cell[row * embedded + f]) * width;
        const T value = in[bins.columns[f]], part = share[row * embedded + f];
        const T *w = weight.data + f * width, *c = bias + f * width;
        GPUBP_VECTORIZE
        for (int64 j = 0; j < width; ++j)
          out[j] = value * w[j] + (c[j] + before[at + j]) + part * table[at + j];
      }
      for (int64 i = 0; i < bins.passing; ++i) out[i] = in[bins.others[i]];
    }
  };
}

// Rows of dtable, dweight and dbias in some columns of one embedded input. Of every row of the
// batch, the error counts whole for all bins before its own, and by its share for that.
template <typename T>
void embed_gradients(const BinTable<T>& bins, const Matrix<T>& x, const int64* cell, const T* share,
                     const Matrix<T>& dy, int64 width, int64 f, Range own, T* dweight, T* dbias,
                     T* dtable, T* behind) {
  const int64 first = bins.starts[f], end = bins.starts[f + 1];
  for (int64 bin = first; bin < end; ++bin)
    for (T* of : {dtable, behind})
      std::fill(of + bin * width + own.first, of + bin * width + own.end(), T(0));
  T *w = dweight + f * width, *c = dbias + f * width;
  std::fill(w + own.first, w + own.end(), T(0));
  std::fill(c + own.first, c + own.end(), T(0));
  for (int64 row = 0; row < x.rows; ++row) {
    const int64 at = row * bins.embedded + f, bin = (first + cell[at]) * width;
    const T value = x.data[row * x.columns + bins.columns[f]], part = share[at];
    const T* d = dy.data + row * dy.columns + f * width;
    T *own_row = dtable + bin, *rows_behind = behind + bin;
    GPUBP_VECTORIZE
    for (int64 j = own.first; j < own.end(); ++j) {
      w[j] += value * d[j];
      c[j] += d[j];
      own_row[j] += part * d[j];
      rows_behind[j] += d[j];
    }
  }
  for (int64 bin = end - 1; bin-- > first;)
    for (int64 j = own.first; j < own.end(); ++j) {
      dtable[bin * width + j] += behind[(bin + 1) * width + j];
      behind[bin * width + j] += behind[(bin + 1) * width + j];
    }
}

// embed_numbers_backward(x, cell, share, bins..., dy, dweight, dbias, dtable)
template <typename T>
void add_embed_numbers_backward(Program& program, const Call& call, const Blas&) {
  const BinTable<T> bins(call, 3);
  const Matrix<T> x = call.matrix<T>(0), dy = call.matrix<T>(7), weight = call.matrix<T>(8);
  const int64 width = weight.columns, embedded = bins.embedded;
  const int64* cell = call.array<int64>(1, x.rows * embedded);
  const T* share = call.array<T>(2, x.rows * embedded);
  T *dbias = call.array<T>(9, weight.size()), *dtable = call.array<T>(10, bins.count * width);
  T *behind = program.room<T>(bins.count * width), *dweight = weight.data;
  const int64 size = sizeof(T);
  Phase& phase = program.add(COLUMNS, x.rows, dy.columns);
  phase.reads = {whole_of(x), whole(cell, x.rows * embedded * 8),
                 whole(share, x.rows * embedded * size), matrix_of(dy)};
  phase.writes = {whole(dtable, bins.count * width * size), whole(dweight, weight.size() * size),
                  whole(dbias, weight.size() * size)};
  phase.work = [=](const Member&, const Share& s) {
    const int64 end = std::min(s.columns.end(), embedded * width);
    for (int64 at = s.columns.first; at < end;) {
      const int64 f = at / width, stop = std::min(end, (f + 1) * width);
      embed_gradients(bins, x, cell, share, dy, width, f, {at - f * width, stop - at}, dweight,
                      dbias, dtable, behind);
      at = stop;
    }
  };
}

// embed_numbers_slope(dx, cell, bins..., dy, weight, table)
template <typename T>
void add_embed_numbers_slope(Program& program, const Call& call, const Blas&) {
  const BinTable<T> bins(call, 2);
  const Matrix<T> dx = call.matrix<T>(0), dy = call.matrix<T>(6), weight = call.matrix<T>(7);
  const int64 width = weight.columns, embedded = bins.embedded;
  const int64* cell = call.array<int64>(1, dx.rows * embedded);
  const T* table = call.array<T>(8, bins.count * width);
  if (dx.columns != embedded + bins.passing || dy.rows != dx.rows ||
      dy.columns != embedded * width + bins.passing)
    throw Refusal("the embedding has another width");
  Phase& phase = program.add(ROWS, dx.rows, dx.columns);
  phase.reads = {down(cell, embedded), down(dy.data, dy.columns), whole_of(weight),
                 whole(table, bins.count * width * int64(sizeof(T)))};
  phase.writes = {matrix_of(dx)};
  phase.work = [=](const Member&, const Share& s) {
    for (int64 row = s.rows.first; row < s.rows.end(); ++row) {
      const T* d = dy.data + row * dy.columns;
      T* out = dx.data + row * dx.columns;
      for (int64 f = 0; f < embedded; ++f, d += width) {
        const int64 bin = bins.starts[f] + cell[row * embedded + f];
        const T length = bins.edges[bin + f + 1] - bins.edges[bin + f];
        const T *w = weight.data + f * width, *v = table + bin * width;
        T sum = T(0);
        for (int64 j = 0; j < width; ++j) sum += (w[j] + v[j] / length) * d[j];
        out[bins.columns[f]] = sum;
      }
      for (int64 i = 0; i < bins.passing; ++i) out[bins.others[i]] = d[i];
    }
  };
}

}  // namespace gpubp
