// The products of a step, by what parts they are shared out; see `Program::by_rows`.
#pragma once
#include "calls.h"

namespace gpubp {

// So much of packed memory stays in the second cache, beside chunks of rows that pass.
const int64 MOST_PACKED = 1 << 20;

// The same where a part has several chunks of rows: it packs b once for all of them, for itself, as
// what another core has packed would have to come from there. False where that is not faster.
inline bool add_product_of_packed(Program& program, const Blas& blas, float scale,
                                  const Matrix<float>& a, const Matrix<float>& b, bool of_b,
                                  const Matrix<float>& out) {
  const int64 n = out.columns, k = a.columns;
  if (!blas.packed || program.chunks(out.rows) <= program.parts()) return false;
  const PackedProduct& way = *blas.packed;
  if (way.size(n, k) * int64(sizeof(float)) > MOST_PACKED) return false;
  char* const* rooms = program.shared_rooms(MOST_PACKED);  // of phases that hold: never joined
  const auto packed = [=](int part) { return reinterpret_cast<float*>(rooms[part]); };
  Phase& phase = program.add(ROWS, out.rows, n);
  phase.holds = true;
  phase.reads = {down(a.data, k), whole_of(b)};
  phase.writes = {matrix_of(out)};
  phase.prepare = [=](int part) { way.pack(of_b, n, k, b.data, b.columns, packed(part)); };
  phase.work = [=](const Member&, const Share& s) {
    way.multiply(s.rows.size, n, k, scale, a.data + s.rows.first * k, k, packed(s.part),
                 out.data + s.rows.first * n, n);
  };
  return true;
}
inline bool add_product_of_packed(Program&, const Blas&, double, const Matrix<double>&,
                                  const Matrix<double>&, bool, const Matrix<double>&) {
  return false;
}

// out = scale a b, or scale a b^T: each part has its own rows of a and of out.
template <typename T>
void add_product_by_rows(Program& program, const Blas& blas, T scale, Matrix<T> a, Matrix<T> b,
                         bool of_b, Matrix<T> out) {
  if (add_product_of_packed(program, blas, scale, a, b, of_b, out)) return;
  Phase& phase = program.add(ROWS, out.rows, out.columns);
  phase.cut = false;
  phase.reads = {down(a.data, a.columns), whole_of(b)};
  phase.writes = {matrix_of(out)};
  phase.work = [=](const Member&, const Share& s) {
    multiply(blas, false, of_b, s.rows.size, out.columns, a.columns, scale,
             a.data + s.rows.first * a.columns, a.columns, b.data, b.columns,
             out.data + s.rows.first * out.columns, out.columns);
  };
}

// out = scale a b, a in columns and b in rows: each part multiplies its own, and the shares are
// added.
template <typename T>
void add_product(Program& program, const Blas& blas, T scale, Matrix<T> a, Matrix<T> b,
                 Matrix<T> out) {
  std::vector<T*> rooms;
  std::vector<Matrix<T>> others;
  bool begun = false;
  for (int part = 0; part < program.parts(); ++part) {
    const bool some = part_of(a.columns, part, program.parts()).size > 0;
    const bool first = some && !begun;
    rooms.push_back(!some ? nullptr : first ? out.data : program.room<T>(out.size()));
    if (some && !first) others.push_back({rooms.back(), out.rows, out.columns});
    begun = begun || some;
  }
  Phase& phase = program.add(COLUMNS, a.rows, a.columns);
  phase.reads = {matrix_of(a), across(b.data, b.columns)};
  phase.writes = {[=](const Share& s) {
    return whole(rooms[static_cast<size_t>(s.part)], out.size() * int64(sizeof(T)))(s);
  }};
  phase.work = [=](const Member&, const Share& s) {
    multiply(blas, false, false, out.rows, out.columns, s.columns.size, scale,
             a.data + s.columns.first, a.columns, b.data + s.columns.first * b.columns, b.columns,
             rooms[static_cast<size_t>(s.part)], out.columns);
  };
  if (others.empty()) return;
  Phase& sum = program.add(FLEXIBLE, out.rows, out.columns);
  sum.writes = {matrix_of(out)};
  for (const Matrix<T>& other : others) sum.reads.push_back(matrix_of(other));
  sum.work = [=](const Member&, const Share& s) {
    for (const Matrix<T>& other : others)
      for (int64 row = s.rows.first; row < s.rows.end(); ++row) {
        T* to = out.data + row * out.columns;
        const T* from = other.data + row * out.columns;
        GPUBP_VECTORIZE
        for (int64 j = s.columns.first; j < s.columns.end(); ++j) to[j] += from[j];
      }
  };
}

// multiply(a, b, out, transposed a, transposed b, scale): out = scale a b
template <typename T>
void add_multiply(Program& program, const Call& call, const Blas& blas) {
  const Matrix<T> a = call.matrix<T>(0), b = call.matrix<T>(1), out = call.matrix<T>(2);
  const bool of_a = call.whole(3), of_b = call.whole(4);
  const int64 inner = of_a ? a.rows : a.columns;
  const T scale = T(call.number(5));
  if ((of_a ? a.columns : a.rows) != out.rows || (of_b ? b.rows : b.columns) != out.columns ||
      (of_b ? b.columns : b.rows) != inner || (of_a && of_b))
    throw Refusal("matrices do not fit each other");
  if (!of_a && program.by_rows(out.rows))
    return add_product_by_rows(program, blas, scale, a, b, of_b, out);
  if (!of_a && !of_b) return add_product(program, blas, scale, a, b, out);
  Phase& phase = program.add(COLUMNS, of_a ? inner : out.rows, of_a ? out.rows : out.columns);
  if (of_a) {  // out = a^T b: each part has its own rows of out
    phase.reads = {matrix_of(a), whole_of(b)};
    phase.writes = {across(out.data, out.columns)};
    phase.work = [=](const Member&, const Share& s) {
      multiply(blas, true, false, s.columns.size, out.columns, inner, scale,
               a.data + s.columns.first, a.columns, b.data, b.columns,
               out.data + s.columns.first * out.columns, out.columns);
    };
  } else {  // out = a b^T: each part has its own columns of out
    phase.reads = {whole_of(a), across(b.data, b.columns)};
    phase.writes = {matrix_of(out)};
    phase.work = [=](const Member&, const Share& s) {
      multiply(blas, false, true, out.rows, s.columns.size, inner, scale, a.data, a.columns,
               b.data + s.columns.first * b.columns, b.columns, out.data + s.columns.first,
               out.columns);
    };
  }
}

}  // namespace gpubp
