// Products by functions that are called as cblas_sgemm and cblas_dgemm are, on the caller's thread
// alone, or by tiles; their rows are shared out among the team. Part of module.h, within its
// namespace.

// Rows that one thread multiplies at a time by squares: it packs all of b anew each time.
const int64 MOST_ROWS_BY_SQUARES = 4096;

// multiply(products, a, b, out, transposed a, transposed b, scale, chunk): out = scale a b, so many
// rows at a time. How many decides the bits of a product of BLAS, and no bit of others.
PyObject* multiply(PyObject*, Arguments arguments, Py_ssize_t count) {
  Arrays arrays;
  gpubp::Blas blas;
  if (count != 8 || !take_blas(arguments[0], blas) || !arrays.take(arguments[1], false) ||
      !arrays.take(arguments[2], false) || !arrays.take(arguments[3], true))
    return refuse("(products, a, b, out, transposed a, transposed b, scale, chunk) are needed");
  const bool of_a = PyObject_IsTrue(arguments[4]) == 1, of_b = PyObject_IsTrue(arguments[5]) == 1;
  const double scale = PyFloat_AsDouble(arguments[6]);
  const int64 chunk = PyLong_AsLong(arguments[7]);
  if (PyErr_Occurred()) return nullptr;
  const int64 rows = arrays.rows(2), columns = arrays.columns(2);
  const int64 inner = of_a ? arrays.rows(0) : arrays.columns(0);
  const char kind = arrays.kind(2);
  if ((kind != 'f' && kind != 'd') || arrays.kind(0) != kind || arrays.kind(1) != kind ||
      chunk < 1 || (of_a ? arrays.columns(0) : arrays.rows(0)) != rows ||
      (of_b ? arrays.rows(1) : arrays.columns(1)) != columns ||
      (of_b ? arrays.columns(1) : arrays.rows(1)) != inner)
    return refuse("a, b and out differ in type or shape");
  const int64 lda = arrays.columns(0), ldb = arrays.columns(1);
  const int64 multiplications_an_element = 64;  // what takes as long as an element of other loops
  const int64 elements = rows * columns * inner / multiplications_an_element;
  const auto work = [&](auto zero) {
    typedef decltype(zero) T;
    const T *a = arrays.data<T>(0), *b = arrays.data<T>(1);
    T* out = arrays.data<T>(2);
    const gpubp::Way way = gpubp::way_of<T>(blas, of_b, rows, columns, inner);
    const int64 tile = way == gpubp::BY_SQUARES ? 32 : 8;
    const int64 share = std::max(tile, (rows / threads + tile - 1) / tile * tile);
    const int64 most = way == gpubp::BY_BLAS    ? chunk
                       : way == gpubp::BY_TILES ? std::min(chunk, share)
                                                : std::min(MOST_ROWS_BY_SQUARES, share);
    gpubp::in_chunks(rows, most, elements, threads, [=](int64 first, int64 end) {
      gpubp::multiply_by(way, blas, of_a, of_b, end - first, columns, inner, T(scale),
                         a + first * (of_a ? 1 : lda), lda, b, ldb, out + first * columns, columns);
    });
  };
  PyThreadState* state = PyEval_SaveThread();
  if (kind == 'f')
    work(float());
  else
    work(double());
  PyEval_RestoreThread(state);
  Py_RETURN_NONE;
}
