// A module of products that are called as cblas_sgemm is. The module is named GPUBP_MODULE; a
// compiler or a processor that does not know its instructions does without it.
//
//   product()          -> the address of GPUBP_PRODUCT, in bfloat16
//   float32_product()  -> that of GPUBP_FLOAT32_PRODUCT, where the module has one
#include "python_module.h"

namespace {

PyObject* product(PyObject*, PyObject*) {
  return PyLong_FromVoidPtr(reinterpret_cast<void*>(gpubp::GPUBP_PRODUCT));
}

#ifdef GPUBP_FLOAT32_PRODUCT
PyObject* float32_product(PyObject*, PyObject*) {
  return PyLong_FromVoidPtr(reinterpret_cast<void*>(gpubp::GPUBP_FLOAT32_PRODUCT));
}
#endif

PyMethodDef methods[] = {{"product", product, METH_NOARGS, nullptr},
#ifdef GPUBP_FLOAT32_PRODUCT
                         {"float32_product", float32_product, METH_NOARGS, nullptr},
#endif
                         {nullptr, nullptr, 0, nullptr}};

PyModuleDef definition =
    definition_of("Products in bfloat16; see gpubp/backends/cpu/bfloat16_backend.py.", methods);

}  // namespace

PyMODINIT_FUNC GPUBP_INIT(void) { return PyModule_Create(&definition); }
