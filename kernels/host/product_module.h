// A module of one function of products, named GPUBP_PRODUCT: `product() -> its address`, to be
// called as cblas_sgemm is. The module is named GPUBP_MODULE; a compiler or a processor that does
// not know its instructions does without it.
#include "python_module.h"

namespace {

PyObject* product(PyObject*, PyObject*) {
  return PyLong_FromVoidPtr(reinterpret_cast<void*>(gpubp::GPUBP_PRODUCT));
}

PyMethodDef methods[] = {{"product", product, METH_NOARGS, nullptr},
                         {nullptr, nullptr, 0, nullptr}};

PyModuleDef definition =
    definition_of("Products in bfloat16; see gpubp/backends/cpu/bfloat16_backend.py.", methods);

}  // namespace

PyMODINIT_FUNC GPUBP_INIT(void) { return PyModule_Create(&definition); }
