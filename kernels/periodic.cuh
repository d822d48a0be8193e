// Numbers embedded by waves: y = (x, cos(2 pi w x + b) A + c), Holzmueller, Grinsztajn and
// Steinwart 2024, or y = relu((cos(2 pi w x), sin(2 pi w x)) A + c), Gorishniy, Rubachev and
// Babenko 2022. The waves of a number are its cosines and then its sines.
#pragma once
#include "storage.cuh"

namespace gpubp {

// Columns of x that pass in front, and the numbers behind; `beside` is 1 where the first of the
// `width` numbers that one becomes is itself, 0 where all are rectified.
struct Waves {
  int64 passing, numbers, frequencies, width, beside;

  GPUBP_HD int64 inputs() const { return passing + numbers; }
  GPUBP_HD int64 outputs() const { return passing + numbers * width; }
  GPUBP_HD int64 read() const { return beside ? frequencies : 2 * frequencies; }
  GPUBP_HD int64 linear() const { return width - beside; }
  // Where the output, the waves and the linear map of a number begin.
  GPUBP_HD int64 output(int64 row, int64 number) const {
    return row * outputs() + passing + number * width;
  }
  GPUBP_HD int64 wave(int64 row, int64 number) const {
    return (row * numbers + number) * 2 * frequencies;
  }
  GPUBP_HD int64 map(int64 number) const { return number * read() * linear(); }
};

template <typename T>
GPUBP_HD T turns(T frequency) {
  return T(6.283185307179586) * frequency;
}

template <typename T>
GPUBP_HD void waves_of(T x, T frequency, T phase, T& cosine, T& sine) {
  const T angle = turns(frequency) * x + phase;
  cosine = math::cos(angle);
  sine = math::sin(angle);
}

// One number of those that a linear map makes of the waves of a number.
template <typename T>
GPUBP_HD T of_waves(const Waves& p, const T* wave, const T* map, T bias, int64 j) {
  T sum = bias;
  for (int64 h = 0; h < p.read(); ++h) sum += wave[h] * map[h * p.linear() + j];
  return p.beside || sum > T(0) ? sum : keep_nan(sum, T(0));
}

// The gradient by it; `y` and `dy` are those of the number.
template <typename T, typename S>
GPUBP_HD T wave_error(const Waves& p, const S* y, const S* dy, int64 j) {
  const T d = widen<T>(dy[p.beside + j]);
  return p.beside || widen<T>(y[j]) > T(0) ? d : T(0);
}

// The gradient by the angle of one of the frequencies of a number.
template <typename T, typename S>
GPUBP_HD T angle_gradient(const Waves& p, const T* wave, const T* map, const S* y, const S* dy,
                          int64 frequency) {
  const T* of_cosine = map + frequency * p.linear();
  const T* of_sine = of_cosine + p.frequencies * p.linear();
  T cosine = T(0), sine = T(0);
  for (int64 j = 0; j < p.linear(); ++j) {
    const T error = wave_error<T>(p, y, dy, j);
    cosine += of_cosine[j] * error;
    if (!p.beside) sine += of_sine[j] * error;
  }
  return wave[frequency] * sine - wave[p.frequencies + frequency] * cosine;
}

// The gradient by a number itself.
template <typename T, typename S>
GPUBP_HD T periodic_slope(const Waves& p, const T* frequency, const T* wave, const T* map,
                          const S* y, const S* dy) {
  T sum = p.beside ? widen<T>(dy[0]) : T(0);
  for (int64 j = 0; j < p.frequencies; ++j)
    sum += turns(frequency[j]) * angle_gradient<T>(p, wave, map, y, dy, j);
  return sum;
}

}  // namespace gpubp
