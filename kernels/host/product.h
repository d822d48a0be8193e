// A product by a function that is called as cblas_sgemm is, its rows shared out among the team.
// Part of module.h, within its namespace.

// multiply(address, a, b, out, transposed a, transposed b, scale): out = scale a b, of float32,
// where the function at the address takes integers of 64 bits and computes on the caller's thread
// alone.
PyObject* multiply(PyObject*, Arguments arguments, Py_ssize_t count) {
  Arrays arrays;
  if (count != 7 || !arrays.take(arguments[1], false) || !arrays.take(arguments[2], false) ||
      !arrays.take(arguments[3], true))
    return refuse("(address, a, b, out, transposed a, transposed b, scale) are needed");
  gpubp::Blas blas;
  blas.single = PyLong_AsVoidPtr(arguments[0]);
  blas.wide = true;
  const bool of_a = PyObject_IsTrue(arguments[4]) == 1, of_b = PyObject_IsTrue(arguments[5]) == 1;
  const float scale = static_cast<float>(PyFloat_AsDouble(arguments[6]));
  if (PyErr_Occurred()) return nullptr;
  const int64 rows = arrays.rows(2), columns = arrays.columns(2);
  const int64 inner = of_a ? arrays.rows(0) : arrays.columns(0);
  if (arrays.kind(0) != 'f' || arrays.kind(1) != 'f' || arrays.kind(2) != 'f' ||
      (of_a ? arrays.columns(0) : arrays.rows(0)) != rows ||
      (of_b ? arrays.rows(1) : arrays.columns(1)) != columns ||
      (of_b ? arrays.columns(1) : arrays.rows(1)) != inner)
    return refuse("a, b and out differ in type or shape");
  const float *a = arrays.data<float>(0), *b = arrays.data<float>(1);
  float* out = arrays.data<float>(2);
  const int64 lda = arrays.columns(0), ldb = arrays.columns(1);
  // each chunk packs b anew: no more of them than threads, unless there are many rows
  const int64 most = 1024, share = std::max<int64>(1, (rows + threads - 1) / threads);
  const int64 multiplications_an_element = 64;  // what takes as long as an element of other loops
  PyThreadState* state = PyEval_SaveThread();
  gpubp::in_chunks(rows, std::min(most, share), rows * columns * inner / multiplications_an_element,
                   threads, [=](int64 first, int64 end) {
                     gpubp::multiply(blas, of_a, of_b, end - first, columns, inner, scale,
                                     a + first * (of_a ? 1 : lda), lda, b, ldb,
                                     out + first * columns, columns);
                   });
  PyEval_RestoreThread(state);
  Py_RETURN_NONE;
}
