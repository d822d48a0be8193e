// The operations of dense layers but for products: reading a batch, activations, dropout, losses.
#pragma once
#include "calls.h"
#include "masks.h"

namespace gpubp {

template <typename T, typename Source>
void gather_share(const Source* source, const int64* order, int64 rows, int64 columns, T scale,
                  T* out, const Share& s) {
  for (int64 row = s.rows.first; row < s.rows.end(); ++row) {
    const int64 from = std::min(std::max<int64>(order[row], 0), rows - 1);
    convert_row(source + from * columns + s.columns.first, out + row * columns + s.columns.first,
                s.columns.size, scale);
  }
}

// gather_batch(array, order, clock, out, batch, scale): out[i] = array[order[clock batch + i]]
// scale
template <typename T, typename Out>
void add_gather_to(Program& program, const Call& call) {
  const Value& source = call.value(0);
  const Matrix<int64> order = call.matrix<int64>(1);
  const Matrix<Out> out = call.matrix<Out>(3);
  const int clock = call.clock(program, 2);
  const int64 batch = static_cast<int64>(call.whole(4)), rows = source.rows;
  const Out scale = Out(call.number(5));
  if (source.columns != out.columns || rows < 1)
    throw Refusal("rows to gather have another length");
  Phase& phase = program.add(FLEXIBLE, out.rows, out.columns);
  phase.writes = {matrix_of(out)};
  phase.work = [=](const Member& member, const Share& s) {
    const int64 first = member.scalar<int64>(clock)[BATCH] * batch;
    if (first < 0 || first + out.rows > order.size()) return;
    const int64* chosen = order.data + first;
    const auto gather = [&](const auto* from) {
      gather_share(from, chosen, rows, out.columns, scale, out.data, s);
    };
    if (source.type == 'B') gather(static_cast<const unsigned char*>(source.data));
    if (source.type == 'e') gather(static_cast<const Half*>(source.data));
    if (source.type == 'f') gather(static_cast<const float*>(source.data));
    if (source.type == 'd') gather(static_cast<const double*>(source.data));
    if (source.type == 'q') gather(static_cast<const int64*>(source.data));
  };
}

template <typename T>
void add_gather(Program& program, const Call& call, const Blas&) {
  const bool whole_numbers = call.value(3).type == 'q';
  if (whole_numbers != (call.value(0).type == 'q')) throw Refusal("rows of another type");
  if (whole_numbers) return add_gather_to<T, int64>(program, call);
  add_gather_to<T, T>(program, call);
}

// add(a, b, out): out = a + b
template <typename T>
void add_sum(Program& program, const Call& call, const Blas&) {
  const Matrix<T> a = call.matrix<T>(0), b = call.like<T>(1, a.rows, a.columns);
  const Matrix<T> out = call.like<T>(2, a.rows, a.columns);
  Phase& phase = program.add(FLEXIBLE, out.rows, out.columns);
  phase.reads = {matrix_of(a), matrix_of(b)};
  phase.writes = {matrix_of(out)};
  phase.work = [=](const Member&, const Share& s) {
    for (int64 row = s.rows.first; row < s.rows.end(); ++row) {
      const int64 at = row * out.columns;
      GPUBP_VECTORIZE
      for (int64 j = at + s.columns.first; j < at + s.columns.end(); ++j)
        out.data[j] = a.data[j] + b.data[j];
    }
  };
}

// activate(z, bias, y, place, whole rows): z += bias, y = f(z)
template <typename T>
void add_activate(Program& program, const Call& call, const Blas&) {
  const Matrix<T> z = call.matrix<T>(0), y = call.like<T>(2, z.rows, z.columns);
  const T* bias = call.array<T>(1, z.columns);
  const int chosen = call.chosen(3, count_of(Functions<T>::activations));
  const auto function = Functions<T>::activations[chosen].activate;
  Phase& phase = program.add(call.whole(4) ? ROWS : FLEXIBLE, z.rows, z.columns);
  phase.reads = {across(bias)};
  phase.writes = {matrix_of(z), matrix_of(y)};
  phase.work = [=](const Member&, const Share& s) {
    const int64 at = s.rows.first * z.columns + s.columns.first;
    function(z.data + at, bias + s.columns.first, y.data + at, s.rows.size, s.columns.size,
             z.columns);
  };
}

// A phase over an error, one share at a time by work(share, sums): the sums of its columns too.
// Where rows are shared out, each chunk has sums of its own, which are added behind it.
template <typename T, typename Work>
void add_summed(Program& program, bool by_rows, Matrix<T> error, T* sums, std::vector<Touch> reads,
                std::vector<Touch> writes, Work work) {
  const int64 columns = error.columns, apart = (columns + LINE - 1) / LINE * LINE;
  const int64 chunks = program.chunks(error.rows);
  T* own = by_rows ? program.room<T>(chunks * apart) : sums;
  writes.push_back(by_rows ? by_chunk(own, apart) : across(sums));
  Phase& phase = program.add(by_rows ? ROWS : COLUMNS, error.rows, columns);
  phase.reads = reads;
  phase.writes = writes;
  phase.work = [=](const Member&, const Share& s) {
    work(s, own + (by_rows ? s.chunks.first * apart : s.columns.first));
  };
  if (!by_rows) return;
  Phase& total = program.add(COLUMNS, chunks, columns);
  total.reads = {matrix(own, apart)};
  total.writes = {across(sums)};
  total.work = [=](const Member&, const Share& s) {
    add_rows(own + s.columns.first, chunks, s.columns.size, apart, sums + s.columns.first);
  };
}

// activate_backward(kept, dy, dz, dbias, place, whole rows): dz = f'(kept) dy, dbias = its sums
template <typename T>
void add_activate_backward(Program& program, const Call& call, const Blas&) {
  const Matrix<T> kept = call.matrix<T>(0), dy = call.like<T>(1, kept.rows, kept.columns);
  const Matrix<T> dz = call.like<T>(2, kept.rows, kept.columns);
  T* dbias = call.array<T>(3, kept.columns);
  const int chosen = call.chosen(4, count_of(Functions<T>::activations));
  const Activation<T>& activation = Functions<T>::activations[chosen];
  const bool rows = call.whole(5) || program.by_rows(kept.rows);
  if (!std::strcmp(activation.name, "identity") && dy.data == dz.data)
    return add_summed(program, rows, dz, dbias, {matrix_of(dz)}, {}, [=](const Share& s, T* sums) {
      const T* begin = dz.data + s.rows.first * dz.columns + s.columns.first;
      add_rows(begin, s.rows.size, s.columns.size, dz.columns, sums);
    });
  add_summed(program, rows, dz, dbias, {matrix_of(kept), matrix_of(dy)}, {matrix_of(dz)},
             [=](const Share& s, T* sums) {
               const int64 at = s.rows.first * kept.columns + s.columns.first;
               activation.backward(kept.data + at, dy.data + at, dz.data + at, sums, s.rows.size,
                                   s.columns.size, kept.columns);
             });
}

// dropout(x, y, clock, rate, its clock, seed, stream); the mask is drawn once a step, on the way
// forward.
template <typename T>
void add_dropout(Program& program, const Call& call, const Blas&) {
  const Matrix<T> x = call.matrix<T>(0), y = call.like<T>(1, x.rows, x.columns);
  const int clock = call.clock(program, 2);
  const Setting rates = call.setting(program, 3);
  const uint64 seed = call.whole(5), stream = call.whole(6);
  bool drawn = false;
  unsigned char* mask = program.mask(seed, stream, x.size(), drawn);
  const Matrix<unsigned char> masks{mask, x.rows, x.columns};
  Phase& phase = program.add(FLEXIBLE, x.rows, x.columns);
  phase.reads = {matrix_of(x)};
  phase.writes = {matrix_of(y)};
  (drawn ? phase.reads : phase.writes).push_back(matrix_of(masks));
  phase.work = [=](const Member& member, const Share& s) {
    const uint64 step = static_cast<uint64>(member.scalar<int64>(clock)[STEP]);
    const float rate = float(rates.of(member));
    const T kept = T(1) - T(rate);
    const bool whole = s.columns.size == x.columns;  // rows, which lie one behind the other
    const int64 begin = s.rows.first * x.columns, count = s.rows.size * x.columns;
    if (!drawn && whole) draw_mask(seed, stream, step, begin, count, rate, mask + begin);
    for (int64 row = s.rows.first; row < s.rows.end(); ++row) {
      const int64 at = row * x.columns + s.columns.first;
      if (!drawn && !whole) draw_mask(seed, stream, step, at, s.columns.size, rate, mask + at);
      const unsigned char* dropped = mask + at;
      const T* from = x.data + at;
      T* to = y.data + at;
      GPUBP_VECTORIZE
      for (int64 j = 0; j < s.columns.size; ++j) to[j] = dropped[j] ? T(0) : from[j] / kept;
    }
  };
}

// loss(y, expected, dy, mean, parameter, its clock, place [, weights, total])
template <typename T>
void add_loss(Program& program, const Call& call, const Blas&) {
  const Matrix<T> y = call.matrix<T>(0), dy = call.like<T>(2, y.rows, y.columns);
  const int mean = call.scalar<T>(program, 3, 1);
  const Setting parameters = call.setting(program, 4);
  const Loss<T>& loss = Functions<T>::losses[call.chosen(6, count_of(Functions<T>::losses))];
  const Value& expected = call.value(1);
  const bool fits = loss.classes ? expected.type == 'q' && expected.size == y.rows
                                 : expected.type == type_of<T>() && expected.size == y.size();
  if (!fits) throw Refusal("expected values do not fit");
  T* row_loss = program.room<T>(y.rows);
  const T* weights = call.count() > 7 ? call.array<T>(7, y.rows) : nullptr;
  const int total = weights ? call.scalar<T>(program, 8, 1) : 0;
  if (weights) {
    Phase& sum = program.add(EVERYWHERE, 1, 1);
    sum.reads = {whole(weights, y.rows * int64(sizeof(T)))};
    sum.work = [=](const Member& member, const Share&) {
      *member.scalar<T>(total) = T(sum_of(weights, y.rows));
    };
  }
  Phase& phase = program.add(ROWS, y.rows, y.columns);
  phase.reads = {matrix_of(y)};
  if (loss.classes)
    phase.reads.push_back(down(static_cast<const int64*>(expected.data)));
  else
    phase.reads.push_back(matrix(static_cast<const T*>(expected.data), y.columns));
  if (weights) phase.reads.push_back(down(weights));
  phase.writes = {matrix_of(dy), down(row_loss)};
  phase.work = [=](const Member& member, const Share& s) {
    const double all = weights ? double(*member.scalar<T>(total)) : double(y.rows);
    const T scale = all > 0 ? T(1 / all) : T(0), parameter = T(parameters.of(member));
    for (int64 row = s.rows.first; row < s.rows.end(); ++row)
      row_loss[row] = loss.row(y.data + row * y.columns, expected.data, dy.data + row * y.columns,
                               row, y.columns, weights ? weights[row] * scale : scale, parameter);
  };
  Phase& sum = program.add(EVERYWHERE, 1, 1);
  sum.reads = {whole(row_loss, y.rows * int64(sizeof(T)))};
  sum.work = [=](const Member& member, const Share&) {
    double value = 0;
    for (int64 row = 0; row < y.rows; ++row) value += row_loss[row];
    *member.scalar<T>(mean) = T(value);
  };
}

}  // namespace gpubp
