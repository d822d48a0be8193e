// Python's side of a whole step: the plan, made once for the arrays of a network and a batch size,
// which keeps those arrays alive, and its run. Part of module.h, within its namespace.
//
// plan_step(layers, rows, loss, on_logits, update, flat, row_loss, mean, shares, blas, parameter,
//           alpha) -> plan
//   layers   a tuple, for each layer, of (weight, bias, dweight, dbias, z, y, delta, kept,
//            activation), arrays but for the place of the activation in its table
//   flat     (parameters, gradients, *state)
//   shares   room, (2 * (parts - 1) * rows + parts, outputs of the widest layer)
//   blas     (address of cblas_sgemm, address of cblas_dgemm, whether their integers have 64 bits)
//   parameter, alpha   of the loss and of the penalty on squared weights
// run_step(plan, x, expected, weights, *scalars), weights of the rows or None

class Plan {
 public:
  ~Plan() {
    for (Py_buffer& view : views_) PyBuffer_Release(&view);
  }

  // Return the data of an array of so many numbers of the plan's type; null and an error if not.
  void* take(PyObject* object, int64 size) {
    Py_buffer view;
    if (!object || PyObject_GetBuffer(object, &view, FLAGS) != 0) return nullptr;
    views_.push_back(view);
    const char found = view.format && !view.format[1] ? view.format[0] : '?';
    if (kind == 0) kind = found;
    if (found != kind || (found != 'f' && found != 'd') || view.len != size * view.itemsize)
      return const_cast<void*>(static_cast<const void*>(refuse("an array of the plan differs")));
    return view.buf;
  }

  char kind = 0;
  int64 inputs = 0, outputs = 0, rows = 0;
  bool classes = false;
  int scalars = 0, parts = 0;
  std::unique_ptr<gpubp::Step<float>> of_float;
  std::unique_ptr<gpubp::Step<double>> of_double;

 private:
  static const int FLAGS = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | PyBUF_WRITABLE;
  std::vector<Py_buffer> views_;
};

template <typename T>
bool take_layer(Plan& plan, PyObject* tuple, gpubp::StepLayer<T>& layer) {
  Py_buffer shape;
  PyObject* weight = PyTuple_GetItem(tuple, 0);
  if (!weight || PyObject_GetBuffer(weight, &shape, PyBUF_ND) != 0) return false;
  const bool matrix = shape.ndim == 2;
  layer.inputs = matrix ? shape.shape[0] : 0;
  layer.outputs = matrix ? shape.shape[1] : 0;
  PyBuffer_Release(&shape);
  if (!matrix) return refuse("a weight is no matrix");
  const int64 in = layer.inputs, out = layer.outputs, rows = plan.rows;
  const int64 sizes[] = {in * out,   out,        in * out,   out,
                         rows * out, rows * out, rows * out, rows * out};
  void* data[8];
  for (int index = 0; index < 8; ++index) {
    data[index] = plan.take(PyTuple_GetItem(tuple, index), sizes[index]);
    if (!data[index]) return false;
  }
  PyObject* activation = PyTuple_GetItem(tuple, 8);
  const int chosen = activation ? place(activation, ACTIVATIONS) : -1;
  if (chosen < 0) return false;
  T** const of[] = {&layer.weight, &layer.bias, &layer.dweight, &layer.dbias,
                    &layer.z,      &layer.y,    &layer.delta};
  for (int index = 0; index < 7; ++index) *of[index] = static_cast<T*>(data[index]);
  layer.kept = static_cast<const T*>(data[7]);
  layer.activation = &gpubp::Functions<T>::activations[chosen];
  return true;
}

template <typename T>
bool take_step(Plan& plan, Arguments arguments, gpubp::Step<T>& step) {
  step.rows = plan.rows;
  int64 parameters = 0;
  for (Py_ssize_t index = 0; index < PyTuple_Size(arguments[0]); ++index) {
    step.layers.emplace_back();
    gpubp::StepLayer<T>& layer = step.layers.back();
    if (!take_layer(plan, PyTuple_GetItem(arguments[0], index), layer)) return false;
    if (index && layer.inputs != plan.outputs) return refuse("layers do not fit each other");
    if (!index) plan.inputs = layer.inputs;
    plan.outputs = layer.outputs;
    parameters += (layer.inputs + 1) * layer.outputs;
  }
  const int loss = place(arguments[2], LOSSES), update = place(arguments[4], UPDATES);
  const int on_logits = PyObject_IsTrue(arguments[3]);
  if (loss < 0 || update < 0 || on_logits < 0) return false;
  step.loss = &gpubp::Functions<T>::losses[loss];
  step.update = &gpubp::Functions<T>::updates[update];
  step.on_logits = on_logits;
  plan.classes = step.loss->classes;
  plan.scalars = step.update->scalars;
  T** const flat[] = {&step.parameters, &step.gradients, &step.state[0], &step.state[1]};
  if (PyTuple_Size(arguments[5]) != 2 + step.update->states)
    return refuse("flat has not the arrays of the update");
  for (int index = 0; index < 2 + step.update->states; ++index) {
    *flat[index] = static_cast<T*>(plan.take(PyTuple_GetItem(arguments[5], index), parameters));
    if (!*flat[index]) return false;
  }
  step.row_loss = static_cast<T*>(plan.take(arguments[6], plan.rows));
  step.mean = static_cast<T*>(plan.take(arguments[7], 1));
  if (!step.row_loss || !step.mean) return false;
  step.widest = 0;
  for (const auto& layer : step.layers) step.widest = std::max(step.widest, layer.outputs);
  Arrays shares;
  if (!shares.take(arguments[8], true)) return false;
  const int64 room = shares.columns(0) == step.widest ? shares.rows(0) + 2 * plan.rows : 0;
  const int64 a_part = 2 * plan.rows + 1;
  step.shares = static_cast<T*>(plan.take(arguments[8], shares.size(0)));
  if (!step.shares || room < a_part || room % a_part) return refuse("shares do not fit");
  plan.parts = static_cast<int>(room / a_part);
  step.parameter = T(PyFloat_AsDouble(arguments[10]));
  step.alpha = PyFloat_AsDouble(arguments[11]);
  step.squares.resize(plan.parts);
  step.blas.single = PyLong_AsVoidPtr(PyTuple_GetItem(arguments[9], 0));
  step.blas.both_double = PyLong_AsVoidPtr(PyTuple_GetItem(arguments[9], 1));
  step.blas.wide = PyObject_IsTrue(PyTuple_GetItem(arguments[9], 2)) == 1;
  return !PyErr_Occurred();
}

const char* const PLAN = "gpubp.plan";

void delete_plan(PyObject* capsule) {
  delete static_cast<Plan*>(PyCapsule_GetPointer(capsule, PLAN));
}

PyObject* plan_step(PyObject*, Arguments arguments, Py_ssize_t count) {
  if (count != 12) return refuse("twelve arguments are needed");
  for (int index : {0, 5, 9})
    if (!PyTuple_Check(arguments[index])) return refuse("layers, flat and blas must be tuples");
  if (PyTuple_Size(arguments[0]) < 1 || PyTuple_Size(arguments[9]) != 3)
    return refuse("layers or blas have the wrong length");
  std::unique_ptr<Plan> plan(new Plan);
  plan->rows = PyLong_AsLongLong(arguments[1]);
  if (PyErr_Occurred()) return nullptr;
  PyObject* first = PyTuple_GetItem(arguments[0], 0);
  PyObject* weight = PyTuple_Check(first) ? PyTuple_GetItem(first, 0) : nullptr;
  Arrays probe;
  if (!weight || !probe.take(weight, true)) return refuse("a layer must be a tuple of arrays");
  bool done = false;
  if (probe.kind(0) == 'f') {
    plan->of_float.reset(new gpubp::Step<float>());
    done = take_step(*plan, arguments, *plan->of_float);
  } else {
    plan->of_double.reset(new gpubp::Step<double>());
    done = take_step(*plan, arguments, *plan->of_double);
  }
  if (!done) return refuse("the plan does not fit");
  PyObject* capsule = PyCapsule_New(plan.get(), PLAN, delete_plan);
  if (capsule) plan.release();
  return capsule;
}

template <typename T>
gpubp::Batch<T> batch_of(const Arrays& a, bool weighted) {
  return {a.data<T>(0), a.data<void>(1), weighted ? a.data<T>(2) : nullptr};
}

PyObject* run_step(PyObject*, Arguments arguments, Py_ssize_t count) {
  if (count < 4) return refuse("(plan, x, expected, weights, *scalars) are needed");
  Plan* plan = static_cast<Plan*>(PyCapsule_GetPointer(arguments[0], PLAN));
  if (!plan) return nullptr;
  Arrays a;
  if (!a.take(arguments[1], false) || !a.take(arguments[2], false)) return nullptr;
  const bool weighted = arguments[3] != Py_None;
  if (weighted && !a.take(arguments[3], false)) return nullptr;
  if (weighted && (a.kind(2) != plan->kind || a.size(2) != plan->rows))
    return refuse("the weights differ from the plan in type or shape");
  const bool expected_fits =
      plan->classes ? a.is_integer(1) && a.size(1) == plan->rows
                    : a.kind(1) == plan->kind && a.size(1) == plan->rows * plan->outputs;
  if (a.kind(0) != plan->kind || a.size(0) != plan->rows * plan->inputs || !expected_fits)
    return refuse("x or expected differ from the plan in type or shape");
  double scalars[gpubp::MOST_SCALARS];
  if (count != 4 + plan->scalars) return refuse("the number of scalars is wrong");
  if (!take_scalars(arguments + 4, plan->scalars, scalars)) return nullptr;
  PyThreadState* state = PyEval_SaveThread();
  if (plan->of_float)
    gpubp::run_step(*plan->of_float, batch_of<float>(a, weighted), scalars, plan->parts);
  else
    gpubp::run_step(*plan->of_double, batch_of<double>(a, weighted), scalars, plan->parts);
  PyEval_RestoreThread(state);
  Py_RETURN_NONE;
}
