// What a call from Python is given, checked: arrays by the buffer protocol, places in tables.
#pragma once
#include "functions.h"
#include "python_module.h"

namespace {

using gpubp::int64;

typedef PyObject* const* Arguments;

// The arrays of one call, given back when it ends. The first error stays raised.
class Arrays {
 public:
  static const int most = 8;

  ~Arrays() {
    for (int index = 0; index < count_; ++index) PyBuffer_Release(&views_[index]);
  }

  bool take(PyObject* object, bool writable) {
    const int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0);
    if (count_ == most || PyObject_GetBuffer(object, &views_[count_], flags) != 0) return false;
    ++count_;
    return true;
  }

  char kind(int index) const {
    const char* format = views_[index].format;
    return format && format[0] && !format[1] ? format[0] : '?';
  }
  bool is_integer(int index) const {
    return views_[index].itemsize == 8 && (kind(index) == 'l' || kind(index) == 'q');
  }
  int64 size(int index) const { return views_[index].len / views_[index].itemsize; }
  int64 rows(int index) const { return views_[index].ndim ? views_[index].shape[0] : 1; }
  int64 columns(int index) const { return views_[index].ndim > 1 ? views_[index].shape[1] : 1; }
  template <typename T>
  T* data(int index) const {
    return static_cast<T*>(views_[index].buf);
  }

 private:
  Py_buffer views_[most];
  int count_ = 0;
};

PyObject* refuse(const char* reason) {
  if (!PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, reason);
  return nullptr;
}

// Run `loop` for the type of the array; without Python's lock where it may take long.
template <typename Loop>
PyObject* run(char kind, int64 elements, Loop loop) {
  if (kind != 'f' && kind != 'd') return refuse("float32 or float64 arrays are needed");
  PyThreadState* state = elements < gpubp::WORTH_THREADS ? nullptr : PyEval_SaveThread();
  if (kind == 'f')
    loop(float());
  else
    loop(double());
  if (state) PyEval_RestoreThread(state);
  Py_RETURN_NONE;
}

// Read a whole number from 0 to below `count`, the place in a table.
int place(PyObject* object, int count) {
  const long number = PyLong_AsLong(object);
  if (number == -1 && PyErr_Occurred()) return -1;
  if (number < 0 || number >= count) {
    PyErr_SetString(PyExc_IndexError, "no function at this place of the table");
    return -1;
  }
  return static_cast<int>(number);
}

}  // namespace
