// Matrix products in bfloat16 for processors with AVX512-BF16; setup.py gives the flags. It is a
// module of its own: a compiler or a processor without these instructions does without it.
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#define GPUBP_AVX512BF16
#include <Python.h>

#include "bfloat16_product.h"

namespace {

// product() -> the address of gpubp::bfloat16_product, which is called as cblas_sgemm is
PyObject* product(PyObject*, PyObject*) {
  return PyLong_FromVoidPtr(reinterpret_cast<void*>(gpubp::bfloat16_product));
}

PyMethodDef methods[] = {{"product", product, METH_NOARGS, nullptr},
                         {nullptr, nullptr, 0, nullptr}};

PyModuleDef definition = {PyModuleDef_HEAD_INIT,
                          "gpubp.backends.cpu._host_avx512bf16",
                          "Products in bfloat16; see gpubp/backends/cpu/bfloat16_backend.py.",
                          -1,
                          methods,
                          nullptr,
                          nullptr,
                          nullptr,
                          nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__host_avx512bf16(void) { return PyModule_Create(&definition); }
