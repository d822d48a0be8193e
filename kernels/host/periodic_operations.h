// Numbers embedded by waves within a step; see periodic.cuh.
#pragma once
#include "../periodic.cuh"
#include "calls.h"

namespace gpubp {

// What the embedding is: passing, numbers, frequencies, width, beside, from `place` on.
inline Waves waves_at(const Call& call, size_t place) {
  const auto whole = [&](size_t at) { return static_cast<int64>(call.whole(place + at)); };
  return {whole(0), whole(1), whole(2), whole(3), whole(4)};
}

// embed_periodic(x, waves..., frequency, phase, weight, bias, wave, y)
template <typename T>
void add_embed_periodic(Program& program, const Call& call, const Blas&) {
  const Waves p = waves_at(call, 1);
  const int64 frequencies = p.numbers * p.frequencies, size = sizeof(T);
  const Matrix<T> x = call.matrix<T>(0), weight = call.like<T>(8, p.numbers * p.read(), p.linear());
  const T *frequency = call.array<T>(6, frequencies), *phase = call.array<T>(7, frequencies);
  const T* bias = call.array<T>(9, p.numbers * p.linear());
  const Matrix<T> wave = call.like<T>(10, x.rows, 2 * frequencies);
  const Matrix<T> y = call.like<T>(11, x.rows, p.outputs());
  if (x.columns != p.inputs()) throw Refusal("the embedding has another width");
  Phase& phase_of_rows = program.add(ROWS, x.rows, y.columns);
  phase_of_rows.reads = {down(x.data, x.columns), whole_of(weight),
                         whole(frequency, frequencies * size), whole(phase, frequencies * size),
                         whole(bias, p.numbers * p.linear() * size)};
  phase_of_rows.writes = {down(wave.data, wave.columns), matrix_of(y)};
  phase_of_rows.work = [=](const Member&, const Share& s) {
    for (int64 row = s.rows.first; row < s.rows.end(); ++row) {
      const T* in = x.data + row * x.columns;
      T* out = std::copy(in, in + p.passing, y.data + row * y.columns);
      for (int64 f = 0; f < p.numbers; ++f) {
        const T value = in[p.passing + f];
        T* own = wave.data + p.wave(row, f);
        for (int64 j = 0; j < p.frequencies; ++j)
          waves_of(value, frequency[f * p.frequencies + j], phase[f * p.frequencies + j], own[j],
                   own[p.frequencies + j]);
        if (p.beside) *out++ = value;
        for (int64 j = 0; j < p.linear(); ++j)
          *out++ = of_waves(p, own, weight.data + p.map(f), bias[f * p.linear() + j], j);
      }
    }
  };
}

// The gradients by the parameters of one number.
template <typename T>
void periodic_gradients(const Waves& p, const Matrix<T>& x, int64 f, const T* weight,
                        const T* waves, const T* y, const T* dy, T* dfrequency, T* dphase,
                        T* dweight, T* dbias) {
  std::fill_n(dfrequency, p.frequencies, T(0));
  std::fill_n(dphase, p.frequencies, T(0));
  std::fill_n(dweight, p.read() * p.linear(), T(0));
  std::fill_n(dbias, p.linear(), T(0));
  for (int64 row = 0; row < x.rows; ++row) {
    const T value = x.data[row * x.columns + p.passing + f], *wave = waves + p.wave(row, f);
    const T *own = y + p.output(row, f), *d = dy + p.output(row, f);
    for (int64 j = 0; j < p.linear(); ++j) {
      const T error = wave_error<T>(p, own, d, j);
      dbias[j] += error;
      for (int64 h = 0; h < p.read(); ++h) dweight[h * p.linear() + j] += wave[h] * error;
    }
    for (int64 j = 0; j < p.frequencies; ++j) {
      const T gradient = angle_gradient(p, wave, weight, own, d, j);
      dphase[j] += gradient;
      dfrequency[j] += turns(value) * gradient;
    }
  }
}

// embed_periodic_backward(x, waves..., weight, wave, y, dy, dfrequency, dphase, dweight, dbias)
template <typename T>
void add_embed_periodic_backward(Program& program, const Call& call, const Blas&) {
  const Waves p = waves_at(call, 1);
  const int64 frequencies = p.numbers * p.frequencies, size = sizeof(T), unit = 16;
  const Matrix<T> x = call.matrix<T>(0), weight = call.like<T>(6, p.numbers * p.read(), p.linear());
  const Matrix<T> wave = call.like<T>(7, x.rows, 2 * frequencies);
  const Matrix<T> y = call.like<T>(8, x.rows, p.outputs());
  const Matrix<T> dy = call.like<T>(9, x.rows, p.outputs());
  T *dfrequency = call.array<T>(10, frequencies), *dphase = call.array<T>(11, frequencies);
  T *dweight = call.array<T>(12, weight.size()), *dbias = call.array<T>(13, p.numbers * p.linear());
  if (x.columns != p.inputs()) throw Refusal("the embedding has another width");
  Phase& phase = program.add(COLUMNS, x.rows, p.numbers * unit);  // a part is of whole units
  phase.reads = {whole_of(x), whole_of(weight), whole_of(wave), whole_of(y), whole_of(dy)};
  phase.writes = {whole(dfrequency, frequencies * size), whole(dphase, frequencies * size),
                  whole(dweight, weight.size() * size),
                  whole(dbias, p.numbers * p.linear() * size)};
  phase.work = [=](const Member&, const Share& s) {
    for (int64 f = s.columns.first / unit; f < s.columns.end() / unit; ++f)
      periodic_gradients(p, x, f, weight.data + p.map(f), wave.data, y.data, dy.data,
                         dfrequency + f * p.frequencies, dphase + f * p.frequencies,
                         dweight + p.map(f), dbias + f * p.linear());
  };
}

// embed_periodic_slope(dx, waves..., frequency, weight, wave, y, dy)
template <typename T>
void add_embed_periodic_slope(Program& program, const Call& call, const Blas&) {
  const Waves p = waves_at(call, 1);
  const int64 frequencies = p.numbers * p.frequencies;
  const Matrix<T> dx = call.matrix<T>(0);
  const T* frequency = call.array<T>(6, frequencies);
  const Matrix<T> weight = call.like<T>(7, p.numbers * p.read(), p.linear());
  const Matrix<T> wave = call.like<T>(8, dx.rows, 2 * frequencies);
  const Matrix<T> y = call.like<T>(9, dx.rows, p.outputs());
  const Matrix<T> dy = call.like<T>(10, dx.rows, p.outputs());
  if (dx.columns != p.inputs()) throw Refusal("the embedding has another width");
  Phase& phase = program.add(ROWS, dx.rows, dx.columns);
  phase.reads = {down(wave.data, wave.columns), down(y.data, y.columns), down(dy.data, dy.columns),
                 whole(frequency, frequencies * int64(sizeof(T))), whole_of(weight)};
  phase.writes = {matrix_of(dx)};
  phase.work = [=](const Member&, const Share& s) {
    for (int64 row = s.rows.first; row < s.rows.end(); ++row) {
      const T* d = dy.data + row * dy.columns;
      T* out = std::copy(d, d + p.passing, dx.data + row * dx.columns);
      for (int64 f = 0; f < p.numbers; ++f)
        *out++ = periodic_slope(p, frequency + f * p.frequencies, wave.data + p.wave(row, f),
                                weight.data + p.map(f), y.data + p.output(row, f),
                                dy.data + p.output(row, f));
    }
  };
}

}  // namespace gpubp
