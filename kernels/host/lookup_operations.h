// Categories embedded within a step; see embeddings.cuh.
#pragma once
#include "../embeddings.cuh"
#include "calls.h"

namespace gpubp {

// embed_categories(x, place, starts, columns, others, weight, y)
template <typename T>
void add_embed_categories(Program& program, const Call& call, const Blas&) {
  const Matrix<T> x = call.matrix<T>(0), weight = call.matrix<T>(5), y = call.matrix<T>(6);
  const int64 coded = call.matrix<int64>(3).size(), passing = call.matrix<int64>(4).size();
  const int64 width = weight.columns;
  int64* place = call.array<int64>(1, x.rows * coded);
  const int64* starts = call.array<int64>(2, coded + 1);
  const int64 *columns = call.array<int64>(3, coded), *others = call.array<int64>(4, passing);
  if (y.rows != x.rows || y.columns != coded * width + passing)
    throw Refusal("the embedding has another width");
  Phase& phase = program.add(ROWS, x.rows, y.columns);
  phase.reads = {down(x.data, x.columns), whole_of(weight)};
  phase.writes = {down(place, coded), matrix_of(y)};
  phase.work = [=](const Member&, const Share& s) {
    for (int64 row = s.rows.first; row < s.rows.end(); ++row) {
      const T* in = x.data + row * x.columns;
      T* out = y.data + row * y.columns;
      for (int64 f = 0; f < coded; ++f, out += width) {
        const int64 own = row_of_code(in[columns[f]], starts[f], starts[f + 1]);
        place[row * coded + f] = own;
        if (own < 0)
          std::fill(out, out + width, T(0));
        else
          std::copy(weight.data + own * width, weight.data + (own + 1) * width, out);
      }
      for (int64 i = 0; i < passing; ++i) out[i] = in[others[i]];
    }
  };
}

// embed_categories_backward(place, dy, dweight)
template <typename T>
void add_embed_categories_backward(Program& program, const Call& call, const Blas&) {
  const Matrix<int64> place = call.matrix<int64>(0);
  const Matrix<T> dy = call.matrix<T>(1), dweight = call.matrix<T>(2);
  const int64 width = dweight.columns;
  if (dy.rows != place.rows || dy.columns < place.columns * width)
    throw Refusal("the embedding has another width");
  Phase& phase = program.add(COLUMNS, dy.rows, width);
  phase.reads = {whole_of(place), whole_of(dy)};
  phase.writes = {whole_of(dweight)};
  phase.work = [=](const Member&, const Share& s) {
    for (int64 own = 0; own < dweight.rows; ++own)
      std::fill_n(dweight.data + own * width + s.columns.first, s.columns.size, T(0));
    for (int64 row = 0; row < dy.rows; ++row)
      for (int64 f = 0; f < place.columns; ++f) {
        const int64 own = place.data[row * place.columns + f];
        if (own < 0) continue;
        const T* d = dy.data + row * dy.columns + f * width;
        T* sum = dweight.data + own * width;
        GPUBP_VECTORIZE
        for (int64 j = s.columns.first; j < s.columns.end(); ++j) sum[j] += d[j];
      }
  };
}

}  // namespace gpubp
