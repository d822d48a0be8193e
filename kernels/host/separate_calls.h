// Operations that Python asks for one by one: a loop of loops.h each, on chunks shared out among
// the threads.
#pragma once
#include <cstring>
#include <memory>

#include "arguments.h"
#include "run.h"
#include "shuffle.h"

namespace {

int threads = 1;

template <typename Entry, size_t size>
constexpr int length(const Entry (&)[size]) {
  return static_cast<int>(size) - 1;  // the last entry has no name
}

const int ACTIVATIONS = length(gpubp::Functions<float>::activations);
const int LOSSES = length(gpubp::Functions<float>::losses);
const int UPDATES = length(gpubp::Functions<float>::updates);

// activate(place, z, bias, y)
PyObject* activate(PyObject*, Arguments arguments, Py_ssize_t count) {
  Arrays a;
  if (count != 4 || !a.take(arguments[1], true) || !a.take(arguments[2], false) ||
      !a.take(arguments[3], true))
    return refuse("(place, z, bias, y) are needed");
  const int chosen = place(arguments[0], ACTIVATIONS);
  if (chosen < 0) return nullptr;
  const int64 rows = a.rows(0), columns = a.size(1);
  if (a.kind(0) != a.kind(1) || a.kind(0) != a.kind(2) || a.size(0) != rows * columns ||
      a.size(2) != a.size(0))
    return refuse("z, bias and y differ in type or shape");
  return run(a.kind(0), a.size(0), [&](auto zero) {
    typedef decltype(zero) T;
    T *z = a.data<T>(0), *bias = a.data<T>(1), *y = a.data<T>(2);
    const auto function = gpubp::Functions<T>::activations[chosen].activate;
    const int64 chunk = std::max<int64>(1, gpubp::ELEMENTS_A_CHUNK / std::max<int64>(columns, 1));
    gpubp::in_chunks(rows, chunk, a.size(0), threads, [=](int64 first, int64 end) {
      function(z + first * columns, bias, y + first * columns, end - first, columns, columns);
    });
  });
}

// backward(place, kept, dy, dz, partial, dbias), partial being (chunks of 64 rows, columns)
PyObject* backward(PyObject*, Arguments arguments, Py_ssize_t count) {
  Arrays a;
  if (count != 6 || !a.take(arguments[1], false) || !a.take(arguments[2], false) ||
      !a.take(arguments[3], true) || !a.take(arguments[4], true) || !a.take(arguments[5], true))
    return refuse("(place, kept, dy, dz, partial, dbias) are needed");
  const int chosen = place(arguments[0], ACTIVATIONS);
  if (chosen < 0) return nullptr;
  const int64 rows = a.rows(1), columns = a.columns(1), size = a.size(1);
  const int64 chunks = (rows + gpubp::ROWS_A_CHUNK - 1) / gpubp::ROWS_A_CHUNK;
  for (int index = 0; index < 5; ++index)
    if (a.kind(index) != a.kind(1)) return refuse("kept, dy, dz, partial and dbias differ in type");
  if (a.size(0) != size || a.size(2) != size || a.size(3) < chunks * columns ||
      a.size(4) != columns)
    return refuse("kept, dy, dz, partial and dbias differ in shape");
  return run(a.kind(1), size, [&](auto zero) {
    typedef decltype(zero) T;
    T *kept = a.data<T>(0), *dy = a.data<T>(1), *dz = a.data<T>(2), *partial = a.data<T>(3);
    const auto function = gpubp::Functions<T>::activations[chosen].backward;
    gpubp::in_chunks(rows, gpubp::ROWS_A_CHUNK, size, threads, [=](int64 first, int64 end) {
      const int64 at = first * columns;
      function(kept + at, dy + at, dz + at, partial + at / gpubp::ROWS_A_CHUNK, end - first,
               columns, columns);
    });
    gpubp::add_rows(partial, chunks, columns, columns, a.data<T>(4));
  });
}

// loss(place, parameter, y, expected, dy, row_loss, mean, weights): with weights, or None, of the
// rows, which are divided by their sum
PyObject* loss(PyObject*, Arguments arguments, Py_ssize_t count) {
  Arrays a;
  if (count != 8 || !a.take(arguments[2], false) || !a.take(arguments[3], false) ||
      !a.take(arguments[4], true) || !a.take(arguments[5], true) || !a.take(arguments[6], true))
    return refuse("(place, parameter, y, expected, dy, row_loss, mean, weights) are needed");
  const bool weighted = arguments[7] != Py_None;
  if (weighted && !a.take(arguments[7], false)) return nullptr;
  const int chosen = place(arguments[0], LOSSES);
  const double parameter = PyFloat_AsDouble(arguments[1]);
  if (chosen < 0 || PyErr_Occurred()) return nullptr;
  const int64 rows = a.rows(0), columns = a.columns(0), size = a.size(0);
  const bool classes = gpubp::Functions<float>::losses[chosen].classes;
  const bool fits =
      classes ? a.is_integer(1) && a.size(1) == rows : a.kind(1) == a.kind(0) && a.size(1) == size;
  if (!fits || a.kind(2) != a.kind(0) || a.kind(3) != a.kind(0) || a.kind(4) != a.kind(0) ||
      a.size(2) != size || a.size(3) < rows || a.size(4) != 1)
    return refuse("y, expected, dy, row_loss and mean differ in type or shape");
  if (weighted && (a.kind(5) != a.kind(0) || a.size(5) != rows))
    return refuse("the weights differ in type or shape");
  return run(a.kind(0), size, [&](auto zero) {
    typedef decltype(zero) T;
    T *y = a.data<T>(0), *dy = a.data<T>(2), *row_loss = a.data<T>(3);
    const void* expected = a.data<void>(1);
    const auto function = gpubp::Functions<T>::losses[chosen].row;
    const T* weights = weighted ? a.data<T>(5) : nullptr;
    const double total = weighted ? gpubp::sum_of(weights, rows) : double(rows);
    const T scale = total > 0 ? T(1 / total) : T(0), own = T(parameter);
    gpubp::in_chunks(rows, gpubp::ROWS_A_CHUNK, size, threads, [=](int64 first, int64 end) {
      for (int64 row = first; row < end; ++row)
        row_loss[row] = function(y + row * columns, expected, dy + row * columns, row, columns,
                                 weights ? weights[row] * scale : scale, own);
    });
    double sum = 0;
    for (int64 row = 0; row < rows; ++row) sum += row_loss[row];
    *a.data<T>(4) = T(sum);
  });
}

// Read the scalars of an update; the first error stays raised.
bool take_scalars(Arguments arguments, int count, double* scalars) {
  for (int index = 0; index < count; ++index) {
    scalars[index] = PyFloat_AsDouble(arguments[index]);
    if (PyErr_Occurred()) return false;
  }
  return true;
}

// update(place, gradients, parameters, *state, *scalars)
PyObject* update(PyObject*, Arguments arguments, Py_ssize_t count) {
  if (count < 1) return refuse("(place, gradients, parameters, *state, *scalars) are needed");
  const int chosen = place(arguments[0], UPDATES);
  if (chosen < 0) return nullptr;
  const int states = gpubp::Functions<float>::updates[chosen].states;
  const int wanted = gpubp::Functions<float>::updates[chosen].scalars, arrays = 2 + states;
  Arrays a;
  double scalars[gpubp::MOST_SCALARS];
  if (count != 1 + arrays + wanted) return refuse("wrong number of arguments");
  for (int index = 0; index < arrays; ++index) {
    if (!a.take(arguments[1 + index], index > 0)) return refuse("arrays are needed");
    if (a.kind(index) != a.kind(0) || a.size(index) != a.size(0))
      return refuse("gradients, parameters and state differ in type or shape");
  }
  if (!take_scalars(arguments + 1 + arrays, wanted, scalars)) return nullptr;
  return run(a.kind(0), a.size(0), [&](auto zero) {
    typedef decltype(zero) T;
    T* of[4] = {};
    for (int index = 0; index < arrays; ++index) of[index] = a.data<T>(index);
    const auto function = gpubp::Functions<T>::updates[chosen].run;
    gpubp::in_chunks(a.size(0), gpubp::ELEMENTS_A_CHUNK, a.size(0), threads,
                     [=](int64 first, int64 end) {
                       const gpubp::FlushSubnormals flush;
                       function(of[0], of[1], of[2], of[3], scalars, first, end);
                     });
  });
}

template <typename T, typename Source>
void gather_rows(const Arrays& a, T scale) {
  const Source* source = a.data<Source>(0);
  const int64* chosen = a.data<int64>(1);
  T* out = a.data<T>(2);
  const int64 columns = a.columns(2);
  const int64 chunk = std::max<int64>(1, gpubp::ELEMENTS_A_CHUNK / std::max<int64>(columns, 1));
  gpubp::in_chunks(a.rows(2), chunk, a.size(2), threads, [=](int64 first, int64 end) {
    for (int64 row = first; row < end; ++row)
      gpubp::convert_row(source + chosen[row] * columns, out + row * columns, columns, scale);
  });
}

// gather(source, rows, out, scale): out = source[rows] * scale
PyObject* gather(PyObject*, Arguments arguments, Py_ssize_t count) {
  Arrays a;
  if (count != 4 || !a.take(arguments[0], false) || !a.take(arguments[1], false) ||
      !a.take(arguments[2], true))
    return refuse("(source, rows, out, scale) are needed");
  const double scale = PyFloat_AsDouble(arguments[3]);
  if (PyErr_Occurred()) return nullptr;
  if (!a.is_integer(1) || a.size(1) != a.rows(2) || a.columns(0) != a.columns(2))
    return refuse("source, rows and out differ in type or shape");
  const int64* chosen = a.data<int64>(1);
  for (int64 row = 0; row < a.rows(2); ++row)
    if (chosen[row] < 0 || chosen[row] >= a.rows(0)) {
      PyErr_SetString(PyExc_IndexError, "a row to gather does not exist");
      return nullptr;
    }
  const char kind = a.kind(0);
  if (!std::strchr("Befd", kind)) return refuse("the source's type is not known");
  return run(a.kind(2), a.size(2), [&](auto zero) {
    typedef decltype(zero) T;
    if (kind == 'B') gather_rows<T, unsigned char>(a, T(scale));
    if (kind == 'e') gather_rows<T, gpubp::Half>(a, T(scale));
    if (kind == 'f') gather_rows<T, float>(a, T(scale));
    if (kind == 'd') gather_rows<T, double>(a, T(scale));
  });
}

// shuffle(seed, stream, epoch, order): write the order of the rows in an epoch
PyObject* shuffle(PyObject*, Arguments arguments, Py_ssize_t count) {
  Arrays a;
  if (count != 4 || !a.take(arguments[3], true) || !a.is_integer(0))
    return refuse("(seed, stream, epoch, order), whole numbers, are needed");
  gpubp::uint64 key[3];
  for (int index = 0; index < 3; ++index) key[index] = PyLong_AsUnsignedLongLong(arguments[index]);
  if (PyErr_Occurred()) return nullptr;
  const int64 rows = a.size(0);
  gpubp::uint64* order = a.data<gpubp::uint64>(0);
  std::unique_ptr<gpubp::uint64[]> room(new (std::nothrow)
                                            gpubp::uint64[static_cast<size_t>(rows)]);
  if (!room) return PyErr_NoMemory();
  PyThreadState* state = rows < gpubp::WORTH_THREADS ? nullptr : PyEval_SaveThread();
  gpubp::shuffle_rows(key[0], key[1], key[2], rows, order, room.get());
  if (state) PyEval_RestoreThread(state);
  Py_RETURN_NONE;
}

// all_finite(x) -> bool
PyObject* all_finite(PyObject*, Arguments arguments, Py_ssize_t count) {
  Arrays a;
  if (count != 1 || !a.take(arguments[0], false)) return refuse("(x) is needed");
  bool finite = false;
  PyObject* done = run(a.kind(0), a.size(0), [&](auto zero) {
    typedef decltype(zero) T;
    finite = gpubp::all_finite(a.data<T>(0), a.size(0));
  });
  if (!done) return nullptr;
  Py_DECREF(done);
  return PyBool_FromLong(finite);
}

}  // namespace
