// What every Python module of these kernels is made with. GPUBP_MODULE is its name; the function of
// that name, GPUBP_INIT, is what Python calls to make it.
#pragma once

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#define GPUBP_JOIN(a, b) a##b
#define GPUBP_INIT_OF(name) GPUBP_JOIN(PyInit_, name)
#define GPUBP_INIT GPUBP_INIT_OF(GPUBP_MODULE)
#define GPUBP_TEXT(name) #name
#define GPUBP_NAME_OF(name) "gpubp.backends.cpu." GPUBP_TEXT(name)

namespace {

// The definition of a module that keeps no state.
PyModuleDef definition_of(const char* text, PyMethodDef* methods) {
  return {PyModuleDef_HEAD_INIT,
          GPUBP_NAME_OF(GPUBP_MODULE),
          text,
          -1,
          methods,
          nullptr,
          nullptr,
          nullptr,
          nullptr};
}

}  // namespace
