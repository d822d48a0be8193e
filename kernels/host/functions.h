// The tables of functions that the compiled CPU kernels offer, by name, for float and for double.
// Which functions they are is read from gpubp/backends/formulas when the package is built.
#pragma once
#include "function_lists.h"  // GPUBP_ACTIVATIONS and the others; written by setup.py
#include "loops.h"

namespace gpubp {

template <typename T>
struct Activation {
  const char* name;
  void (*activate)(T* z, const T* bias, T* y, int64 rows, int64 columns, int64 stride);
  void (*backward)(const T* kept, const T* dy, T* dz, T* sums, int64 rows, int64 columns,
                   int64 stride);
  // with a mixing factor; none for a function of whole rows
  void (*mix)(T* z, const T* bias, const T* factor, T* y, int64 rows, int64 columns, int64 stride);
  void (*mix_backward)(const T* z, const T* factor, const T* dy, T* dz, T* sums, T* factors,
                       int64 rows, int64 columns, int64 stride);
};

template <typename T>
struct Loss {
  const char* name;
  bool classes;  // expected values are the indices of classes, int64
  T (*row)(const T* y, const void* expected, T* dy, int64 row, int64 columns, T scale, T parameter);
};

template <typename T>
struct Update {
  const char* name;
  int states, scalars;
  void (*run)(const T* g, T* p, T* s, T* t, const double* c, int64 first, int64 end);
};

enum { ROWS_ABREAST = 16, FEW_COLUMNS = 32 };

// `bias_softmax_row` of some rows with few columns, in the same order within each row: the rows lie
// side by side in registers, for which a row by itself is too short.
template <typename T>
void bias_softmax_abreast(T* z, const T* bias, T* y, int64 rows, int64 columns, int64 stride) {
  T x[FEW_COLUMNS][ROWS_ABREAST] = {}, largest[ROWS_ABREAST], sum[ROWS_ABREAST] = {};
  for (int64 r = 0; r < rows; ++r)
    for (int64 j = 0; j < columns; ++j) x[j][r] = z[r * stride + j] += bias[j];
  std::copy(x[0], x[0] + ROWS_ABREAST, largest);
  for (int64 j = 1; j < columns; ++j) {
    GPUBP_VECTORIZE
    for (int r = 0; r < ROWS_ABREAST; ++r) largest[r] = x[j][r] > largest[r] ? x[j][r] : largest[r];
  }
  for (int64 j = 0; j < columns; ++j) {
    GPUBP_VECTORIZE
    for (int r = 0; r < ROWS_ABREAST; ++r) {
      x[j][r] = math::exp(x[j][r] - largest[r]);
      sum[r] += x[j][r];
    }
  }
  for (int64 r = 0; r < rows; ++r)
    for (int64 j = 0; j < columns; ++j) y[r * stride + j] = x[j][r] / sum[r];
}

template <typename T>
void activate_softmax(T* z, const T* bias, T* y, int64 rows, int64 columns, int64 stride) {
  int64 row = 0;
  for (; columns <= FEW_COLUMNS && row + ROWS_ABREAST <= rows; row += ROWS_ABREAST)
    bias_softmax_abreast(z + row * stride, bias, y + row * stride, ROWS_ABREAST, columns, stride);
  for (; row < rows; ++row) bias_softmax_row(z + row * stride, bias, y + row * stride, columns);
}

template <typename T>
void backward_softmax(const T* y, const T* dy, T* dz, T* sums, int64 rows, int64 columns,
                      int64 stride) {
  for (int64 row = 0; row < rows; ++row)
    softmax_backward_row(y + row * stride, dy + row * stride, dz + row * stride, columns);
  add_rows(dz, rows, columns, stride, sums);
}

#define GPUBP_ACTIVATION(name)                                                                   \
  template <typename T>                                                                          \
  void activate_##name(T* z, const T* bias, T* y, int64 rows, int64 columns, int64 stride) {     \
    bias_activate(z, bias, y, rows, columns, stride, [](T x) { return gpubp::name(x); });        \
  }                                                                                              \
  template <typename T>                                                                          \
  void backward_##name(const T* kept, const T* dy, T* dz, T* sums, int64 rows, int64 columns,    \
                       int64 stride) {                                                           \
    backward_rows(kept, dy, dz, sums, rows, columns, stride,                                     \
                  [](T x, T y, T d) { return gpubp::name##_backward(x, y, d); });                \
  }                                                                                              \
  template <typename T>                                                                          \
  void mix_##name(T* z, const T* bias, const T* factor, T* y, int64 rows, int64 columns,         \
                  int64 stride) {                                                                \
    bias_mix(z, bias, factor, y, rows, columns, stride, [](T x) { return gpubp::name(x); });     \
  }                                                                                              \
  template <typename T>                                                                          \
  void mix_backward_##name(const T* z, const T* factor, const T* dy, T* dz, T* sums, T* factors, \
                           int64 rows, int64 columns, int64 stride) {                            \
    mix_backward_rows(                                                                           \
        z, factor, dy, dz, sums, factors, rows, columns, stride,                                 \
        [](T x) { return gpubp::name(x); },                                                      \
        [](T x, T y, T d) { return gpubp::name##_backward(x, y, d); });                          \
  }
GPUBP_ACTIVATIONS(GPUBP_ACTIVATION)

#define GPUBP_LOSS(name)                                                                   \
  template <typename T>                                                                    \
  T row_##name(const T* y, const void* expected, T* dy, int64 row, int64 columns, T scale, \
               T parameter) {                                                              \
    const T* own = static_cast<const T*>(expected) + row * columns;                        \
    return name##_row(y, own, dy, columns, scale, parameter);                              \
  }
GPUBP_LOSSES(GPUBP_LOSS)

#define GPUBP_CLASS_LOSS(name)                                                             \
  template <typename T>                                                                    \
  T row_##name(const T* z, const void* expected, T* dz, int64 row, int64 columns, T scale, \
               T parameter) {                                                              \
    const int64 chosen = static_cast<const int64*>(expected)[row];                         \
    return name##_row(z, chosen, dz, columns, scale, parameter);                           \
  }
GPUBP_CLASS_LOSSES(GPUBP_CLASS_LOSS)

const int MOST_SCALARS = GPUBP_MOST_SCALARS;

// the arguments after g and p are those for element i
#define GPUBP_UPDATE(name, states, scalars, ...)                                              \
  template <typename T>                                                                       \
  void update_##name(const T* g, T* p, T* s, T* t, const double* c, int64 first, int64 end) { \
    (void)s, (void)t;                                                                         \
    GPUBP_VECTORIZE                                                                           \
    for (int64 i = first; i < end; ++i) gpubp::name(g[i], p[i], __VA_ARGS__);                 \
  }
GPUBP_UPDATES(GPUBP_UPDATE)

template <typename T>
struct Functions {
  static const Activation<T> activations[];
  static const Loss<T> losses[];
  static const Update<T> updates[];
};

// Each table ends with an entry without a name.
#define GPUBP_ACTIVATION_ENTRY(name) \
  {#name, activate_##name<T>, backward_##name<T>, mix_##name<T>, mix_backward_##name<T>},
template <typename T>
const Activation<T> Functions<T>::activations[] = {
    GPUBP_ACTIVATIONS(GPUBP_ACTIVATION_ENTRY){"softmax", activate_softmax<T>, backward_softmax<T>,
                                              nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};
#define GPUBP_LOSS_ENTRY(name) {#name, false, row_##name<T>},
#define GPUBP_CLASS_LOSS_ENTRY(name) {#name, true, row_##name<T>},
template <typename T>
const Loss<T> Functions<T>::losses[] = {GPUBP_LOSSES(GPUBP_LOSS_ENTRY) GPUBP_CLASS_LOSSES(
    GPUBP_CLASS_LOSS_ENTRY){nullptr, false, nullptr}};
#define GPUBP_UPDATE_ENTRY(name, states, scalars, ...) {#name, states, scalars, update_##name<T>},
template <typename T>
const Update<T> Functions<T>::updates[] = {
    GPUBP_UPDATES(GPUBP_UPDATE_ENTRY){nullptr, 0, 0, nullptr}};

}  // namespace gpubp
