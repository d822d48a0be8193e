// A module of products that are called as cblas_sgemm is. The module is named GPUBP_MODULE; a
// compiler or a processor that does not know its instructions does without it.
//
//   product()          -> the address of GPUBP_PRODUCT, in bfloat16
//   packed_product()   -> that of GPUBP_PACKED_PRODUCT, the same with a packed matrix; or 0
//   float32_product()  -> that of GPUBP_FLOAT32_PRODUCT, where the module has one
#include "packed_product.h"
#include "python_module.h"

namespace {

PyObject* product(PyObject*, PyObject*) {
  return PyLong_FromVoidPtr(reinterpret_cast<void*>(gpubp::GPUBP_PRODUCT));
}

PyObject* packed_product(PyObject*, PyObject*) {
#ifdef GPUBP_PACKED_PRODUCT
  static const gpubp::PackedProduct found = gpubp::GPUBP_PACKED_PRODUCT();
  return PyLong_FromVoidPtr(const_cast<gpubp::PackedProduct*>(&found));
#else
  return PyLong_FromLong(0);
#endif
}

#ifdef GPUBP_FLOAT32_PRODUCT
PyObject* float32_product(PyObject*, PyObject*) {
  return PyLong_FromVoidPtr(reinterpret_cast<void*>(gpubp::GPUBP_FLOAT32_PRODUCT));
}
#endif

PyMethodDef methods[] = {{"product", product, METH_NOARGS, nullptr},
                         {"packed_product", packed_product, METH_NOARGS, nullptr},
#ifdef GPUBP_FLOAT32_PRODUCT
                         {"float32_product", float32_product, METH_NOARGS, nullptr},
#endif
                         {nullptr, nullptr, 0, nullptr}};

PyModuleDef definition =
    definition_of("Products in bfloat16; see gpubp/backends/cpu/bfloat16_backend.py.", methods);

}  // namespace

PyMODINIT_FUNC GPUBP_INIT(void) { return PyModule_Create(&definition); }
