// Layer and batch normalisation within a step: n = (x - mean) / sqrt(variance + epsilon).
#pragma once
#include "../normalization.cuh"
#include "calls.h"

namespace gpubp {

const double NORM_EPSILON = 1e-5;  // as in gpubp/backends/protocol.py

// normalize_rows(n, inverse)
template <typename T>
void add_normalize_rows(Program& program, const Call& call, const Blas&) {
  const Matrix<T> n = call.matrix<T>(0);
  T* inverse = call.array<T>(1, n.rows);
  Phase& phase = program.add(ROWS, n.rows, n.columns);
  phase.writes = {matrix_of(n), down(inverse)};
  phase.work = [=](const Member&, const Share& s) {
    for (int64 row = s.rows.first; row < s.rows.end(); ++row)
      inverse[row] = layer_norm_row(n.data + row * n.columns, n.columns, T(NORM_EPSILON));
  };
}

// out = sum over the rows of a b, for some columns
template <typename T>
void sum_products(Matrix<T> a, Matrix<T> b, Range columns, T* out) {
  std::fill(out + columns.first, out + columns.end(), T(0));
  for (int64 row = 0; row < a.rows; ++row) {
    const T *x = a.data + row * a.columns, *y = b.data + row * a.columns;
    GPUBP_VECTORIZE
    for (int64 j = columns.first; j < columns.end(); ++j) out[j] += x[j] * y[j];
  }
}

// normalize_columns(n, inverse, statistics): mean and unbiased variance of each column
template <typename T>
void add_normalize_columns(Program& program, const Call& call, const Blas&) {
  const Matrix<T> n = call.matrix<T>(0), statistics = call.like<T>(2, 2, n.columns);
  T* inverse = call.array<T>(1, n.columns);
  Phase& phase = program.add(COLUMNS, n.rows, n.columns);
  phase.writes = {matrix_of(n), across(inverse), across(statistics.data),
                  across(statistics.data + n.columns)};
  phase.work = [=](const Member&, const Share& s) {
    T *mean = statistics.data, *variance = statistics.data + n.columns;
    const T rows = T(n.rows), others = T(std::max<int64>(n.rows - 1, 1));
    add_rows(n.data + s.columns.first, n.rows, s.columns.size, n.columns, mean + s.columns.first);
    for (int64 j = s.columns.first; j < s.columns.end(); ++j) mean[j] /= rows;
    for (int64 row = 0; row < n.rows; ++row) {
      T* x = n.data + row * n.columns;
      GPUBP_VECTORIZE
      for (int64 j = s.columns.first; j < s.columns.end(); ++j) x[j] -= mean[j];
    }
    sum_products(n, n, s.columns, variance);
    for (int64 j = s.columns.first; j < s.columns.end(); ++j) {
      inverse[j] = T(1) / std::sqrt(variance[j] / rows + T(NORM_EPSILON));
      variance[j] /= others;
    }
    for (int64 row = 0; row < n.rows; ++row) {
      T* x = n.data + row * n.columns;
      GPUBP_VECTORIZE
      for (int64 j = s.columns.first; j < s.columns.end(); ++j) x[j] *= inverse[j];
    }
  };
}

// scale_columns(n, gamma, z): z = gamma n
template <typename T>
void add_scale_columns(Program& program, const Call& call, const Blas&) {
  const Matrix<T> n = call.matrix<T>(0), z = call.like<T>(2, n.rows, n.columns);
  const T* gamma = call.array<T>(1, n.columns);
  Phase& phase = program.add(FLEXIBLE, n.rows, n.columns);
  phase.writes = {matrix_of(z)};
  phase.reads = {matrix_of(n), across(gamma)};
  phase.work = [=](const Member&, const Share& s) {
    for (int64 row = s.rows.first; row < s.rows.end(); ++row) {
      const T* from = n.data + row * n.columns;
      T* to = z.data + row * n.columns;
      GPUBP_VECTORIZE
      for (int64 j = s.columns.first; j < s.columns.end(); ++j) to[j] = from[j] * gamma[j];
    }
  };
}

// sums = sum over the rows of a b
template <typename T>
void add_sums(Program& program, Matrix<T> a, Matrix<T> b, T* sums) {
  Phase& phase = program.add(COLUMNS, a.rows, a.columns);
  phase.reads = {matrix_of(a), matrix_of(b)};
  phase.writes = {across(sums)};
  phase.work = [=](const Member&, const Share& s) { sum_products(a, b, s.columns, sums); };
}

// sum_products(a, b, sums)
template <typename T>
void add_sum_products(Program& program, const Call& call, const Blas&) {
  const Matrix<T> a = call.matrix<T>(0), b = call.like<T>(1, a.rows, a.columns);
  add_sums(program, a, b, call.array<T>(2, a.columns));
}

// normalize_rows_backward(n, inverse, gamma, delta, dgamma)
template <typename T>
void add_normalize_rows_backward(Program& program, const Call& call, const Blas&) {
  const Matrix<T> n = call.matrix<T>(0), delta = call.like<T>(3, n.rows, n.columns);
  const T *inverse = call.array<T>(1, n.rows), *gamma = call.array<T>(2, n.columns);
  add_sums(program, delta, n, call.array<T>(4, n.columns));
  Phase& phase = program.add(ROWS, n.rows, n.columns);
  phase.reads = {matrix_of(n), down(inverse), across(gamma)};
  phase.writes = {matrix_of(delta)};
  phase.work = [=](const Member&, const Share& s) {
    for (int64 row = s.rows.first; row < s.rows.end(); ++row)
      layer_norm_backward_row(n.data + row * n.columns, gamma, inverse[row],
                              delta.data + row * n.columns, n.columns);
  };
}

// normalize_columns_backward(n, inverse, gamma, delta, dbias, dgamma, fixed)
template <typename T>
void add_normalize_columns_backward(Program& program, const Call& call, const Blas&) {
  const Matrix<T> n = call.matrix<T>(0), delta = call.like<T>(3, n.rows, n.columns);
  const T *inverse = call.array<T>(1, n.columns), *gamma = call.array<T>(2, n.columns);
  const T* dbias = call.array<T>(4, n.columns);
  T* dgamma = call.array<T>(5, n.columns);
  if (call.whole(6)) throw Refusal("fixed statistics are not for training");
  add_sums(program, delta, n, dgamma);
  Phase& phase = program.add(COLUMNS, n.rows, n.columns);
  phase.reads = {matrix_of(n), across(inverse), across(gamma), across(dbias), across(dgamma)};
  phase.writes = {matrix_of(delta)};
  phase.work = [=](const Member&, const Share& s) {
    for (int64 row = 0; row < n.rows; ++row) {
      const T* x = n.data + row * n.columns;
      T* d = delta.data + row * n.columns;
      GPUBP_VECTORIZE
      for (int64 j = s.columns.first; j < s.columns.end(); ++j)
        d[j] =
            batch_norm_backward(x[j], gamma[j], inverse[j], d[j], dbias[j], dgamma[j], T(n.rows));
    }
  };
}

}  // namespace gpubp
