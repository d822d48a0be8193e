// The Python module of the compiled CPU kernels. Built once for each instruction set (setup.py),
// under one stable ABI.
#include <utility>

#include "processor_level.h"
#include "python_module.h"
#include "separate_calls.h"

namespace {

PyObject* set_threads(PyObject*, PyObject* number) {
  const long wanted = PyLong_AsLong(number);
  if (PyErr_Occurred()) return nullptr;
  threads = static_cast<int>(std::min<long>(std::max<long>(wanted, 1), 64));
  Py_RETURN_NONE;
}

// work_alone(wanted): whether the calling thread does without the team
PyObject* work_alone(PyObject*, PyObject* wanted) {
  const int truth = PyObject_IsTrue(wanted);
  if (truth < 0) return nullptr;
  gpubp::works_alone = truth != 0;
  Py_RETURN_NONE;
}

// level() -> the widest instruction set of this processor and operating system
PyObject* level(PyObject*, PyObject*) { return PyUnicode_FromString(gpubp::processor_level()); }

// bfloat16_module() -> the module of products in bfloat16 that pays here, or ""
PyObject* bfloat16_module(PyObject*, PyObject*) {
  return PyUnicode_FromString(gpubp::bfloat16_module());
}

// is_of_amd() -> whether this processor is one of AMD's
PyObject* is_of_amd(PyObject*, PyObject*) { return PyBool_FromLong(gpubp::is_of_amd()); }

// has_tiles() -> whether products of float32 in a plan may be done by tiles
PyObject* has_tiles(PyObject*, PyObject*) { return PyBool_FromLong(gpubp::HAS_TILES); }

#include "plan.h"
#include "product.h"

// A tuple of the names in a table, in the order of their places.
template <typename Entry>
PyObject* names(const Entry* entries) {
  PyObject* list = PyList_New(0);
  for (; list && entries->name; ++entries) {
    PyObject* name = PyUnicode_FromString(entries->name);
    if (!name || PyList_Append(list, name) != 0) Py_CLEAR(list);
    Py_XDECREF(name);
  }
  return list;
}

PyCFunction fast(PyObject* (*function)(PyObject*, Arguments, Py_ssize_t)) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

PyMethodDef methods[] = {
    {"activate", fast(activate), METH_FASTCALL, nullptr},
    {"backward", fast(backward), METH_FASTCALL, nullptr},
    {"loss", fast(loss), METH_FASTCALL, nullptr},
    {"update", fast(update), METH_FASTCALL, nullptr},
    {"gather", fast(gather), METH_FASTCALL, nullptr},
    {"shuffle", fast(shuffle), METH_FASTCALL, nullptr},
    {"all_finite", fast(all_finite), METH_FASTCALL, nullptr},
    {"plan", fast(plan), METH_FASTCALL, nullptr},
    {"run_plans", fast(run_plans), METH_FASTCALL, nullptr},
    {"set_threads", set_threads, METH_O, nullptr},
    {"work_alone", work_alone, METH_O, nullptr},
    {"multiply", fast(multiply), METH_FASTCALL, nullptr},
    {"level", level, METH_NOARGS, nullptr},
    {"has_tiles", has_tiles, METH_NOARGS, nullptr},
    {"is_of_amd", is_of_amd, METH_NOARGS, nullptr},
    {"bfloat16_module", bfloat16_module, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef definition = definition_of(
    "Compiled kernels of the CPU; see gpubp/backends/cpu/compiled_backend.py.", methods);

PyObject* make_module() {
  PyObject* module = PyModule_Create(&definition);
  const std::pair<const char*, PyObject*> tables[] = {
      {"ACTIVATIONS", names(gpubp::Functions<float>::activations)},
      {"LOSSES", names(gpubp::Functions<float>::losses)},
      {"UPDATES", names(gpubp::Functions<float>::updates)},
  };
  for (const auto& table : tables) {
    if (module && PyModule_AddObjectRef(module, table.first, table.second) != 0) Py_CLEAR(module);
    Py_XDECREF(table.second);
  }
  return module;
}

}  // namespace

PyMODINIT_FUNC GPUBP_INIT(void) { return make_module(); }
