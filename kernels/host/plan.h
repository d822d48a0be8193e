// Python's side of a program: the plan, made once of the operations of a step, which keeps their
// arrays alive, and its run. Part of module.h, within its namespace.
//
// plan(operations, parts, blas, flat, double) -> plan
//   operations   a list of tuples: the name of an operation, and its arrays and numbers
//   blas         as `take_blas` reads it
//   flat         (gradients, parameters)
//   double       whether all is in float64
// run_plans(plan, steps, plan, steps, ...): do so many steps of each, one after the other

// Read (address of cblas_sgemm, address of cblas_dgemm, whether their integers have 64 bits,
// whether tiles may stand in for the first, address of squares that may, or 0, and of those with a
// right matrix that is packed, or 0); false and an error where it is none.
bool take_blas(PyObject* given, gpubp::Blas& blas) {
  if (!PyTuple_Check(given) || PyTuple_Size(given) != 6)
    return refuse("products are (address, address, wide, tiled, address, address)");
  blas.single = PyLong_AsVoidPtr(PyTuple_GetItem(given, 0));
  blas.both_double = PyLong_AsVoidPtr(PyTuple_GetItem(given, 1));
  blas.wide = PyObject_IsTrue(PyTuple_GetItem(given, 2)) == 1;
  blas.tiled = PyObject_IsTrue(PyTuple_GetItem(given, 3)) == 1;
  blas.squares = PyLong_AsVoidPtr(PyTuple_GetItem(given, 4));
  blas.packed =
      static_cast<const gpubp::PackedProduct*>(PyLong_AsVoidPtr(PyTuple_GetItem(given, 5)));
  return !PyErr_Occurred();
}

class Plan {
 public:
  explicit Plan(int parts) : program(parts) {}
  ~Plan() {
    for (Py_buffer& view : views_) PyBuffer_Release(&view);
  }

  gpubp::Program program;
  std::shared_ptr<gpubp::Threads> threads;
  std::vector<char> scalars;
  std::mutex one_run;

  // Read an array or a number; false and an error where it is neither.
  bool take(PyObject* object, gpubp::Value& value) {
    if (PyLong_Check(object)) {
      value.whole = PyLong_AsUnsignedLongLongMask(object);
      value.number = PyLong_AsDouble(object);
      return !PyErr_Occurred();
    }
    if (PyFloat_Check(object)) {
      value.number = PyFloat_AsDouble(object);
      return true;
    }
    Py_buffer view;
    if (PyObject_GetBuffer(object, &view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) != 0) return false;
    views_.push_back(view);
    const char* format = view.format ? view.format : "B";
    value.type = format[1] ? '?' : format[0] == 'l' && view.itemsize == 8 ? 'q' : format[0];
    value.data = view.buf;
    value.size = view.itemsize ? view.len / view.itemsize : 0;
    value.rows = view.ndim ? view.shape[0] : 1;
    value.columns = view.ndim > 1 && value.rows ? value.size / value.rows : 1;
    return true;
  }

 private:
  std::vector<Py_buffer> views_;
};

const char* const PLAN = "gpubp.plan";

void delete_plan(PyObject* capsule) {
  delete static_cast<Plan*>(PyCapsule_GetPointer(capsule, PLAN));
}

bool take_call(Plan& plan, PyObject* tuple, gpubp::Call& call) {
  if (!PyTuple_Check(tuple) || PyTuple_Size(tuple) < 1) return refuse("an operation is a tuple");
  PyObject* encoded = PyUnicode_AsUTF8String(PyTuple_GetItem(tuple, 0));
  if (!encoded) return false;
  call.name = PyBytes_AsString(encoded);
  Py_DECREF(encoded);
  for (Py_ssize_t place = 1; place < PyTuple_Size(tuple); ++place) {
    call.values.emplace_back();
    if (!plan.take(PyTuple_GetItem(tuple, place), call.values.back())) return false;
  }
  return true;
}

// Add all operations to the plan's program; false and an error where one cannot be.
bool fill_plan(Plan& plan, PyObject* operations, PyObject* flat, const gpubp::Blas& blas,
               bool wide) {
  gpubp::Value gradients, parameters;
  if (!plan.take(PyTuple_GetItem(flat, 0), gradients) ||
      !plan.take(PyTuple_GetItem(flat, 1), parameters))
    return false;
  if (blas.packed && !wide) plan.program.cut_into_chunks();
  plan.program.set_flat(gradients.data, parameters.data, gradients.size, wide ? 8 : 4);
  for (Py_ssize_t place = 0; place < PyList_Size(operations); ++place) {
    gpubp::Call call;
    if (!take_call(plan, PyList_GetItem(operations, place), call)) return false;
    if (wide)
      gpubp::add_call<double>(plan.program, call, blas);
    else
      gpubp::add_call<float>(plan.program, call, blas);
  }
  plan.program.finish();
  plan.threads = gpubp::threads_of(plan.program.kind());
  plan.scalars.resize(static_cast<size_t>(plan.program.parts()) *
                      (plan.program.scalars().size() + 1) * gpubp::SCALAR_ROOM);
  return true;
}

PyObject* plan(PyObject*, Arguments arguments, Py_ssize_t count) {
  if (count != 5 || !PyList_Check(arguments[0]) || !PyTuple_Check(arguments[3]) ||
      PyTuple_Size(arguments[3]) != 2)
    return refuse("(operations, parts, blas, flat, double) are needed");
  const long parts = PyLong_AsLong(arguments[1]);
  if (parts < 1 || parts > 64) return refuse("1 to 64 parts are needed");
  gpubp::Blas blas;
  if (!take_blas(arguments[2], blas)) return nullptr;
  std::unique_ptr<Plan> made(new Plan(static_cast<int>(parts)));
  try {
    const bool wide = PyObject_IsTrue(arguments[4]) == 1;
    if (!fill_plan(*made, arguments[0], arguments[3], blas, wide))
      return refuse("an operation has arguments that are neither arrays nor numbers");
  } catch (const gpubp::Refusal& refusal) {
    return refuse(refusal.what());
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  }
  PyObject* capsule = PyCapsule_New(made.get(), PLAN, delete_plan);
  if (capsule) made.release();
  return capsule;
}

PyObject* run_plans(PyObject*, Arguments arguments, Py_ssize_t count) {
  std::vector<std::pair<Plan*, long>> runs;
  for (Py_ssize_t at = 0; at + 1 < count; at += 2) {
    Plan* plan = static_cast<Plan*>(PyCapsule_GetPointer(arguments[at], PLAN));
    const long steps = PyLong_AsLong(arguments[at + 1]);
    if (!plan || PyErr_Occurred()) return nullptr;
    runs.push_back({plan, steps});
  }
  if (runs.empty() || count % 2) return refuse("(plan, steps, plan, steps, ...) are needed");
  PyThreadState* state = PyEval_SaveThread();
  for (const auto& run : runs) {
    Plan& plan = *run.first;
    std::lock_guard<std::mutex> alone(plan.one_run);
    gpubp::run_program(plan.program, *plan.threads, plan.scalars.data(), run.second);
  }
  PyEval_RestoreThread(state);
  Py_RETURN_NONE;
}
