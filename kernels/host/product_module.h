// A module of one function of products, named GPUBP_PRODUCT: `product() -> its address`, to be
// called as cblas_sgemm is. The module is named GPUBP_MODULE; a compiler or a processor that does
// not know its instructions does without it.
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

namespace {

PyObject* product(PyObject*, PyObject*) {
  return PyLong_FromVoidPtr(reinterpret_cast<void*>(gpubp::GPUBP_PRODUCT));
}

PyMethodDef methods[] = {{"product", product, METH_NOARGS, nullptr},
                         {nullptr, nullptr, 0, nullptr}};

PyModuleDef definition = {PyModuleDef_HEAD_INIT,
                          "gpubp.backends.cpu._host_product",
                          "Products in bfloat16; see gpubp/backends/cpu/bfloat16_backend.py.",
                          -1,
                          methods,
                          nullptr,
                          nullptr,
                          nullptr,
                          nullptr};

}  // namespace

#define GPUBP_JOIN(a, b) a##b
#define GPUBP_INIT(name) GPUBP_JOIN(PyInit_, name)
PyMODINIT_FUNC GPUBP_INIT(GPUBP_MODULE)(void) { return PyModule_Create(&definition); }
