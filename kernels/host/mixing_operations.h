// Activations with a trained mixing factor within a step; see mixing.cuh.
#pragma once
#include "calls.h"

namespace gpubp {

// The function of this place in the table, if it can be mixed.
template <typename T>
const Activation<T>& mixable(const Call& call, size_t place) {
  const int chosen = call.chosen(place, count_of(Functions<T>::activations));
  const Activation<T>& activation = Functions<T>::activations[chosen];
  if (!activation.mix) throw Refusal(call.name + " of a function of whole rows");
  return activation;
}

// mix(z, bias, factor, y, place): z += bias, y = z + factor (f(z) - z)
template <typename T>
void add_mix(Program& program, const Call& call, const Blas&) {
  const Matrix<T> z = call.matrix<T>(0), y = call.like<T>(3, z.rows, z.columns);
  const T *bias = call.array<T>(1, z.columns), *factor = call.array<T>(2, z.columns);
  const auto function = mixable<T>(call, 4).mix;
  Phase& phase = program.add(FLEXIBLE, z.rows, z.columns);
  phase.reads = {across(bias), across(factor)};
  phase.writes = {matrix_of(y), matrix_of(z)};
  phase.work = [=](const Member&, const Share& s) {
    const int64 at = s.rows.first * z.columns + s.columns.first;
    function(z.data + at, bias + s.columns.first, factor + s.columns.first, y.data + at,
             s.rows.size, s.columns.size, z.columns);
  };
}

// mix_backward(z, factor, dy, dz, dbias, dfactor, place)
template <typename T>
void add_mix_backward(Program& program, const Call& call, const Blas&) {
  const Matrix<T> z = call.matrix<T>(0), dy = call.like<T>(2, z.rows, z.columns);
  const Matrix<T> dz = call.like<T>(3, z.rows, z.columns);
  const T* factor = call.array<T>(1, z.columns);
  T *dbias = call.array<T>(4, z.columns), *dfactor = call.array<T>(5, z.columns);
  const auto function = mixable<T>(call, 6).mix_backward;
  Phase& phase = program.add(COLUMNS, z.rows, z.columns);
  phase.reads = {matrix_of(z), across(factor), matrix_of(dy)};
  phase.writes = {matrix_of(dz), across(dbias), across(dfactor)};
  phase.work = [=](const Member&, const Share& s) {
    const int64 at = s.rows.first * z.columns + s.columns.first, j = s.columns.first;
    function(z.data + at, factor + j, dy.data + at, dz.data + at, dbias + j, dfactor + j,
             s.rows.size, s.columns.size, z.columns);
  };
}

}  // namespace gpubp
