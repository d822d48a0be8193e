// The operations on flat buffers: gathering gradients, penalties, clipping, the optimizer's step,
// running means, and the end of a step. Each part changes what it owns.
#pragma once
#include "calls.h"

namespace gpubp {

// Elements `first` to before `end` of a view at `start` that a share of the flat buffer has.
struct Overlap {
  int64 first, end;
};
inline Overlap within(const Share& s, int64 start, int64 size) {
  return {std::max<int64>(s.columns.first - start, 0),
          std::min<int64>(s.columns.end() - start, size)};
}

// Where a view of the flat parameters begins. Refused for anything else.
template <typename T>
int64 place_in_parameters(const Program& program, const T* view) {
  const T* parameters = static_cast<const T*>(program.parameters());
  const int64 start = parameters ? view - parameters : -1;
  if (start < 0 || start >= program.count()) throw Refusal("no view of the parameters");
  return start;
}

template <typename T>
Phase& add_owned(Program& program, const T* array, int64 size) {
  Phase& phase = program.add(OWNED, 1, size);
  phase.writes = {across(array)};
  return phase;
}

// accumulate(gradients, share, first, total): total = share gradients, added if not the first
template <typename T>
void add_accumulate(Program& program, const Call& call, const Blas&) {
  const Matrix<T> gradients = call.matrix<T>(0);
  const T share = T(call.number(1));
  const bool first = call.whole(2);
  T *total = call.array<T>(3, gradients.size()), *g = gradients.data;
  Phase& phase = add_owned(program, total, gradients.size());
  phase.writes.push_back(across(g));
  phase.work = [=](const Member&, const Share& s) {
    GPUBP_VECTORIZE
    for (int64 i = s.columns.first; i < s.columns.end(); ++i) {
      g[i] *= share;
      total[i] = (first ? T(0) : total[i]) + g[i];
    }
  };
}

// convert(array, out)
template <typename T>
void add_convert(Program& program, const Call& call, const Blas&) {
  const Matrix<T> from = call.matrix<T>(0), to = call.like<T>(1, from.rows, from.columns);
  const bool flat = to.data == program.gradients();
  Phase& phase =
      flat ? program.add(OWNED, 1, to.size()) : program.add(FLEXIBLE, from.rows, from.columns);
  phase.writes = {flat ? across(to.data) : matrix_of(to)};
  phase.reads = {flat ? across(from.data) : matrix_of(from)};
  const int64 columns = flat ? to.size() : to.columns;
  phase.work = [=](const Member&, const Share& s) {
    for (int64 row = s.rows.first; row < s.rows.end(); ++row) {
      const int64 at = row * columns + s.columns.first;
      std::copy(from.data + at, from.data + at + s.columns.size, to.data + at);
    }
  };
}

// average(values, decay, mean, scaling): mean += (1 - decay) (values - mean)
template <typename T>
void add_average(Program& program, const Call& call, const Blas&) {
  const Matrix<T> values = call.matrix<T>(0), mean = call.like<T>(2, values.rows, values.columns);
  const T move = T(1) - T(call.number(1));
  const int scaling = call.scaling(program, 3);
  // the parameters are a column of numbers that parts own, moments a matrix whose columns they do
  const bool flat = values.columns == 1;
  Phase& phase = flat ? program.add(OWNED, 1, values.size())
                      : program.add(COLUMNS, values.rows, values.columns);
  phase.reads = {flat ? across(values.data) : matrix_of(values)};
  phase.writes = {flat ? across(mean.data) : matrix_of(mean)};
  const int64 columns = flat ? values.size() : values.columns;
  phase.work = [=](const Member& member, const Share& s) {
    if (member.scalar<float>(scaling)[OVERFLOWED] != 0) return;
    for (int64 row = s.rows.first; row < s.rows.end(); ++row) {
      const T* v = values.data + row * columns;
      T* m = mean.data + row * columns;
      GPUBP_VECTORIZE
      for (int64 j = s.columns.first; j < s.columns.end(); ++j) m[j] += move * (v[j] - m[j]);
    }
  };
}

// penalize(weight, dweight, l1, l2, scaling [, per]): dweight += (l1 sign(weight) + l2 weight) /
// per
template <typename T>
void add_penalize(Program& program, const Call& call, const Blas&) {
  const Matrix<T> weight = call.matrix<T>(0);
  T* dweight = call.array<T>(1, weight.size());
  const T l1 = T(call.number(2)), l2 = T(call.number(3)), *w = weight.data;
  const int per = call.is_array(5) ? call.scalar<T>(program, 5, 1) : -1;
  const int64 start = place_in_parameters(program, w), size = weight.size();
  Phase& phase = program.add(OWNED, 1, program.count());  // gradients lie as the parameters do
  phase.reads = {across(static_cast<const T*>(program.parameters()))};
  phase.writes = {across(static_cast<const T*>(program.gradients()))};
  phase.work = [=](const Member& member, const Share& s) {
    const T over = per < 0 ? T(1) : *member.scalar<T>(per);
    const T share = over > T(0) ? T(1) / over : T(0);
    const Overlap own = within(s, start, size);
    GPUBP_VECTORIZE
    for (int64 i = own.first; i < own.end; ++i) dweight[i] += share * (l1 * sign(w[i]) + l2 * w[i]);
  };
}

// In chunks, so that float sums stay exact enough and become vector instructions.
template <typename T>
double sum_squares(const T* values, int64 size) {
  const int64 chunk = 256, lanes = 16;
  double sum = 0;
  for (int64 first = 0; first < size; first += chunk) {
    const int64 end = std::min(first + chunk, size), whole = first + (end - first) / lanes * lanes;
    T partial[lanes] = {};
    for (int64 i = first; i < whole; i += lanes)
      for (int64 lane = 0; lane < lanes; ++lane)
        partial[lane] += values[i + lane] * values[i + lane];
    for (int64 i = whole; i < end; ++i) partial[0] += values[i] * values[i];
    for (int64 lane = 0; lane < lanes; ++lane) sum += partial[lane];
  }
  return sum;
}

// The sums of the squares of what each part owns of some views of a flat buffer, a cache line each.
template <typename T>
double* add_squares_of(Program& program, const T* flat, const std::vector<Matrix<T>>& views) {
  double* sums = program.room<double>(program.parts() * 8);
  Phase& phase = program.add(OWNED, 1, program.count());
  phase.reads = {across(flat)};
  phase.writes = {by_part(sums, 8)};
  phase.prepare = [=](int part) { sums[part * 8] = 0; };
  phase.work = [=](const Member&, const Share& s) {
    for (const Matrix<T>& view : views) {
      const Overlap own = within(s, view.data - flat, view.size());
      const int64 size = own.end - own.first;
      if (size > 0) sums[s.part * 8] += sum_squares(view.data + own.first, size);
    }
  };
  return sums;
}

// add_squares(factor, per, mean, weights...): mean += factor (sum of squares) / per
template <typename T>
void add_add_squares(Program& program, const Call& call, const Blas&) {
  std::vector<Matrix<T>> weights;
  for (size_t place = 3; place < call.count(); ++place) {
    weights.push_back(call.matrix<T>(place));
    place_in_parameters(program, weights.back().data);
  }
  const double factor = call.number(0);
  const int per = call.scalar<T>(program, 1, 1), mean = call.scalar<T>(program, 2, 1);
  const int parts = program.parts();
  const double* sums =
      add_squares_of(program, static_cast<const T*>(program.parameters()), weights);
  Phase& phase = program.add(EVERYWHERE, 1, 1);
  phase.reads = {whole(sums, parts * 64)};
  phase.work = [=](const Member& member, const Share&) {
    double all = 0;
    for (int part = 0; part < parts; ++part) all += sums[part * 8];
    const double over = *member.scalar<T>(per);
    T& loss = *member.scalar<T>(mean);
    if (over > 0) loss = T(double(loss) + factor / over * all);
  };
}

// clip(gradients, limit)
template <typename T>
void add_clip(Program& program, const Call& call, const Blas&) {
  const Matrix<T> gradients = call.matrix<T>(0);
  const T limit = T(call.number(1));
  T* g = gradients.data;
  add_owned(program, g, gradients.size()).work = [=](const Member&, const Share& s) {
    GPUBP_VECTORIZE
    for (int64 i = s.columns.first; i < s.columns.end(); ++i)
      g[i] = g[i] > limit ? limit : (g[i] < -limit ? -limit : g[i]);
  };
}

// clip_norm(gradients, limit)
template <typename T>
void add_clip_norm(Program& program, const Call& call, const Blas&) {
  const Matrix<T> gradients = call.matrix<T>(0);
  const double limit = call.number(1);
  T* g = gradients.data;
  const double* sums = add_squares_of<T>(program, g, {gradients});
  const int parts = program.parts();
  Phase& phase = add_owned(program, g, gradients.size());
  phase.reads = {whole(sums, parts * 64)};
  phase.work = [=](const Member&, const Share& s) {
    double all = 0;
    for (int part = 0; part < parts; ++part) all += sums[part * 8];
    const double norm = std::sqrt(all);
    if (norm <= limit) return;
    const T factor = T(limit / norm);
    GPUBP_VECTORIZE
    for (int64 i = s.columns.first; i < s.columns.end(); ++i) g[i] *= factor;
  };
}

// limit_norms(weight, limit): each column, what leads into a unit
template <typename T>
void add_limit_norms(Program& program, const Call& call, const Blas&) {
  const Matrix<T> w = call.matrix<T>(0);
  const T limit = T(call.number(1));
  T* norms = program.room<T>(w.columns);
  Phase& phase = program.add(COLUMNS, w.rows, w.columns);
  phase.writes = {matrix_of(w), across(norms)};
  phase.work = [=](const Member&, const Share& s) {
    std::fill(norms + s.columns.first, norms + s.columns.end(), T(0));
    for (int64 row = 0; row < w.rows; ++row)
      for (int64 j = s.columns.first; j < s.columns.end(); ++j)
        norms[j] += w.data[row * w.columns + j] * w.data[row * w.columns + j];
    for (int64 j = s.columns.first; j < s.columns.end(); ++j)
      norms[j] = limit / std::max(T(std::sqrt(norms[j])), limit);
    for (int64 row = 0; row < w.rows; ++row)
      for (int64 j = s.columns.first; j < s.columns.end(); ++j)
        w.data[row * w.columns + j] *= norms[j];
  };
}

// update(gradients, parameters, settings, clock, scaling, place, start, stop, state...): of the
// elements from `start` to before `stop`
template <typename T>
void add_update(Program& program, const Call& call, const Blas&) {
  const Matrix<T> gradients = call.matrix<T>(0);
  const int64 size = gradients.size();
  T *g = gradients.data, *p = call.array<T>(1, size);
  const Value& settings = call.value(2);
  const int clock = call.clock(program, 3), scaling = call.scaling(program, 4);
  const Update<T>& update = Functions<T>::updates[call.chosen(5, count_of(Functions<T>::updates))];
  if (settings.type != 'd' || settings.columns != update.scalars ||
      call.count() != 8 + static_cast<size_t>(update.states))
    throw Refusal("the update has other settings or another state");
  const int64 start = static_cast<int64>(call.whole(6)), stop = static_cast<int64>(call.whole(7));
  if (start < 0 || start > stop || stop > size) throw Refusal("the update is of other elements");
  T* s = update.states > 0 ? call.array<T>(8, size) : nullptr;
  T* t = update.states > 1 ? call.array<T>(9, size) : nullptr;
  const double* rows = static_cast<const double*>(settings.data);
  const int64 count = settings.rows, scalars = update.scalars;
  Phase& phase = add_owned(program, p, size);
  phase.reads = {across(g)};
  if (s) phase.writes.push_back(across(s));
  if (t) phase.writes.push_back(across(t));
  phase.work = [=](const Member& member, const Share& share) {
    const int64 row = member.scalar<int64>(clock)[SETTINGS];
    if (member.scalar<float>(scaling)[OVERFLOWED] != 0 || row < 0 || row >= count) return;
    const FlushSubnormals flush;
    update.run(g, p, s, t, rows + row * scalars, std::max(share.columns.first, start),
               std::min(share.columns.end(), stop));
  };
}

// find_overflow(value, scaling): of one number
template <typename T>
void add_find_overflow(Program& program, const Call& call, const Blas&) {
  const int value = call.scalar<T>(program, 0, 1), scaling = call.scaling(program, 1);
  program.add(EVERYWHERE, 1, 1).work = [=](const Member& member, const Share&) {
    if (!std::isfinite(*member.scalar<T>(value))) member.scalar<float>(scaling)[OVERFLOWED] = 1;
  };
}

// finish_step(mean, losses, clock, scaling, updated)
template <typename T>
void add_finish_step(Program& program, const Call& call, const Blas&) {
  const int mean = call.scalar<T>(program, 0, 1);
  const Matrix<T> losses = call.matrix<T>(1);
  const int clock = call.clock(program, 2), scaling = call.scaling(program, 3);
  const bool updated = call.whole(4);
  program.add(EVERYWHERE, 1, 1).work = [=](const Member& member, const Share&) {
    int64* now = member.scalar<int64>(clock);
    const bool known = now[BATCH] >= 0 && now[BATCH] < losses.size();
    if (member.number == 0 && known) losses.data[now[BATCH]] = *member.scalar<T>(mean);
    ++now[STEP];
    ++now[BATCH];
    if (!updated) return;
    ++now[SETTINGS];
    member.scalar<float>(scaling)[OVERFLOWED] = 0;
  };
}

}  // namespace gpubp
