// A whole training step in one call, for networks so small that handing matrices from one
// processor core to another takes longer than computing with them.
//
// Each member of the team owns some of the inputs of every layer: rows of its weights, of their
// gradients and of the optimizer's state, which lie together in memory and never leave its core's
// cache. It multiplies them with its columns of the layer's inputs, so each has a share of every
// weighted sum; the shares are added, and the errors of all outputs looked at, by way of the
// memory both have, and these are small. The matrix products are those of NumPy's BLAS, called
// with one thread by each member.
#pragma once
#include <cmath>
#include <vector>

#include "flush_subnormals.h"
#include "functions.h"

namespace gpubp {

// cblas_sgemm and cblas_dgemm, with dimensions of 32 or 64 bits.
struct Blas {
  void* single = nullptr;
  void* both_double = nullptr;
  bool wide = false;
};

template <typename Integer, typename T>
void call_gemm(void* address, bool transpose_a, bool transpose_b, int64 m, int64 n, int64 k,
               const T* a, int64 lda, const T* b, int64 ldb, T* c, int64 ldc) {
  typedef void (*Gemm)(int, int, int, Integer, Integer, Integer, T, const T*, Integer, const T*,
                       Integer, T, T*, Integer);
  const int row_major = 101, no_transpose = 111, transpose = 112;
  reinterpret_cast<Gemm>(address)(row_major, transpose_a ? transpose : no_transpose,
                                  transpose_b ? transpose : no_transpose, Integer(m), Integer(n),
                                  Integer(k), T(1), a, Integer(lda), b, Integer(ldb), T(0), c,
                                  Integer(ldc));
}

// c = a b, each of them or its transpose, rows ld apart
template <typename T>
void multiply(const Blas& blas, bool transpose_a, bool transpose_b, int64 m, int64 n, int64 k,
              const T* a, int64 lda, const T* b, int64 ldb, T* c, int64 ldc) {
  if (m == 0 || n == 0 || k == 0) return;
  void* address = sizeof(T) == 4 ? blas.single : blas.both_double;
  const auto gemm = blas.wide ? call_gemm<std::int64_t, T> : call_gemm<std::int32_t, T>;
  gemm(address, transpose_a, transpose_b, m, n, k, a, lda, b, ldb, c, ldc);
}

// Sum the weights of some rows.
template <typename T>
double sum_of(const T* weights, int64 rows) {
  double sum = 0;
  for (int64 row = 0; row < rows; ++row) sum += weights[row];
  return sum;
}

template <typename T>
struct StepLayer {
  int64 inputs, outputs;
  T *weight, *bias, *dweight, *dbias;
  T *z, *y, *delta;
  const T* kept;  // what the derivative is computed from: z or y
  const Activation<T>* activation;
};

template <typename T>
struct Step {
  std::vector<StepLayer<T>> layers;
  int64 rows;
  const Loss<T>* loss;
  T parameter;     // of the loss
  bool on_logits;  // the loss acts on z of the last layer, and its gradient is by z
  // Penalty alpha / 2 sum(weight^2), divided by the rows' weight as the loss is and counted in it
  double alpha;
  mutable std::vector<double> squares;  // sum of the squared weights, for every part
  const Update<T>* update;
  T *parameters, *gradients, *state[2];
  T *row_loss, *mean;
  // Twice, for every part but the first, room for the sums of the widest layer over the batch; and
  // once for every part for sums over its rows.
  T* shares;
  int64 widest;
  Blas blas;
};

template <typename T>
struct Batch {
  const T* x;
  const void* expected;
  const T* weights;  // of the rows; null where all weigh 1
};

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

struct Range {
  int64 first, size;
};

// One of several parts of `total` items, in multiples of 16: a cache line of float32.
inline Range part_of(int64 total, int part, int parts) {
  const int64 unit = 16, units = (total + unit - 1) / unit;
  const int64 first = std::min(total, units * part / parts * unit);
  const int64 end = std::min(total, units * (part + 1) / parts * unit);
  return {first, end - first};
}

// What one member of the team does: every phase for each of its parts. The number of parts, and so
// every bit of the result, does not depend on how many members there are.

template <typename T>
class Member {
 public:
  Member(const Step<T>& step, const Batch<T>& batch, const double* scalars, int parts, int member,
         int members)
      : step_(step),
        batch_(batch),
        total_(batch.weights ? sum_of(batch.weights, step.rows) : double(step.rows)),
        scalars_(scalars),
        parts_(parts),
        member_(member),
        members_(members),
        last_(static_cast<int64>(step.layers.size()) - 1) {}

  void run() {
    if (step_.alpha != 0) each_part([=] { add_squares(); });
    for (int64 index = 0; index < last_; ++index) {
      each_part([=] { share_of_sums(index); });
      wait();
      each_part([=] { activate(index); });
    }
    each_part([=] { share_of_sums(last_); });
    wait();
    each_part([=] { loss(); });
    wait();
    const bool finite = mean_loss();
    each_part([=] { last_bias_gradient(); });
    for (int64 index = last_; index >= 0; --index) {
      each_part([=] { weight_gradient(index); });
      if (index > 0) {
        each_part([=] { error_below(index); });
        wait();
      }
    }
    if (finite) each_part([=] { update(); });
  }

 private:
  const T* inputs_of(int64 index) const { return index ? step_.layers[index - 1].y : batch_.x; }
  Range own(int64 total) const { return part_of(total, part_, parts_); }

  template <typename Phase>
  void each_part(Phase phase) {
    for (part_ = member_; part_ < parts_; part_ += members_) phase();
  }

  void wait() const {
    if (members_ > 1) team().barrier();
  }

  // Where a part's share of the weighted sums of a layer goes: the first part's into z itself. Two
  // rooms take turns, as one member may be a layer ahead of another that still reads.
  T* share(int64 index, int part) const {
    return part ? room(index % 2, part - 1) : step_.layers[index].z;
  }

  T* room(int64 turn, int64 place) const {
    return step_.shares + (turn * (parts_ - 1) + place) * step_.rows * step_.widest;
  }

  void share_of_sums(int64 index) const {
    const StepLayer<T>& layer = step_.layers[index];
    const Range inputs = own(layer.inputs);
    T* sums = share(index, part_);
    if (inputs.size == 0) std::fill(sums, sums + step_.rows * layer.outputs, T(0));
    multiply(step_.blas, false, false, step_.rows, layer.outputs, inputs.size,
             inputs_of(index) + inputs.first, layer.inputs,
             layer.weight + inputs.first * layer.outputs, layer.outputs, sums, layer.outputs);
  }

  // Add the shares of all parts for some rows and columns of the weighted sums.
  void add_shares(int64 index, Range rows, Range columns) const {
    const StepLayer<T>& layer = step_.layers[index];
    for (int part = 1; part < parts_; ++part) {
      const T* other = share(index, part);
      for (int64 row = rows.first; row < rows.first + rows.size; ++row) {
        T* z = layer.z + row * layer.outputs;
        const T* added = other + row * layer.outputs;
        GPUBP_VECTORIZE
        for (int64 j = columns.first; j < columns.first + columns.size; ++j) z[j] += added[j];
      }
    }
  }

  // The outputs of the member's neurons; they are the inputs of the next layer that it owns.
  void activate(int64 index) const {
    const StepLayer<T>& layer = step_.layers[index];
    const Range columns = own(layer.outputs);
    add_shares(index, {0, step_.rows}, columns);
    layer.activation->activate(layer.z + columns.first, layer.bias + columns.first,
                               layer.y + columns.first, step_.rows, columns.size, layer.outputs);
  }

  // Output, loss and its gradient by the weighted sum, for the member's rows of the batch.
  void loss() const {
    const StepLayer<T>& layer = step_.layers[last_];
    const Range rows = own(step_.rows);
    const int64 columns = layer.outputs, at = rows.first * columns;
    add_shares(last_, rows, {0, columns});
    T* outputs = step_.on_logits ? layer.z : layer.y;
    const Activation<T>& activation =
        step_.on_logits ? Functions<T>::activations[0] : *layer.activation;  // 0 is identity
    activation.activate(layer.z + at, layer.bias, outputs + at, rows.size, columns, columns);
    const T scale = total_ > 0 ? T(1 / total_) : T(0);
    for (int64 row = rows.first; row < rows.first + rows.size; ++row)
      step_.row_loss[row] = step_.loss->row(
          outputs + row * columns, batch_.expected, layer.delta + row * columns, row, columns,
          batch_.weights ? batch_.weights[row] * scale : scale, step_.parameter);
    if (!step_.on_logits)  // the sums of these rows alone are of no use
      activation.backward(layer.kept + at, layer.delta + at, layer.delta + at,
                          room(2, 0) + part_ * step_.widest, rows.size, columns, columns);
  }

  // Every member adds up the same numbers, so that all know whether the step is to be finished.
  bool mean_loss() const {
    double sum = 0;
    for (int64 row = 0; row < step_.rows; ++row) sum += step_.row_loss[row];
    if (step_.alpha != 0)
      for (int part = 0; part < parts_; ++part) sum += penalty() / 2 * step_.squares[part];
    if (member_ == 0) *step_.mean = T(sum);
    return std::isfinite(sum);
  }

  void last_bias_gradient() const {
    const StepLayer<T>& layer = step_.layers[last_];
    const Range columns = own(layer.outputs);
    add_rows(layer.delta + columns.first, step_.rows, columns.size, layer.outputs,
             layer.dbias + columns.first);
  }

  void weight_gradient(int64 index) const {
    const StepLayer<T>& layer = step_.layers[index];
    const Range inputs = own(layer.inputs);
    multiply(step_.blas, true, false, inputs.size, layer.outputs, step_.rows,
             inputs_of(index) + inputs.first, layer.inputs, layer.delta, layer.outputs,
             layer.dweight + inputs.first * layer.outputs, layer.outputs);
  }

  // The errors of the member's neurons in the layer below, and their bias gradient.
  void error_below(int64 index) const {
    const StepLayer<T>&layer = step_.layers[index], &below = step_.layers[index - 1];
    const Range inputs = own(layer.inputs);
    T* delta = below.delta + inputs.first;
    multiply(step_.blas, false, true, step_.rows, inputs.size, layer.outputs, layer.delta,
             layer.outputs, layer.weight + inputs.first * layer.outputs, layer.outputs, delta,
             layer.inputs);
    below.activation->backward(below.kept + inputs.first, delta, delta, below.dbias + inputs.first,
                               step_.rows, inputs.size, layer.inputs);
  }

  double penalty() const { return total_ > 0 ? step_.alpha / total_ : 0; }

  void add_squares() const {
    double sum = 0;
    for (const StepLayer<T>& layer : step_.layers) {
      const Range inputs = own(layer.inputs);
      const T* weight = layer.weight + inputs.first * layer.outputs;
      sum += sum_squares(weight, inputs.size * layer.outputs);
    }
    step_.squares[part_] = sum;
  }

  // Add the penalty's gradient to that of the member's weights.
  void penalize(const StepLayer<T>& layer, Range inputs) const {
    const T factor = T(penalty()), *weight = layer.weight;
    T* dweight = layer.dweight;
    const int64 first = inputs.first * layer.outputs;
    GPUBP_VECTORIZE
    for (int64 i = first; i < first + inputs.size * layer.outputs; ++i)
      dweight[i] += factor * weight[i];
  }

  void update() const {
    const FlushSubnormals flush;
    for (const StepLayer<T>& layer : step_.layers) {
      const Range inputs = own(layer.inputs), outputs = own(layer.outputs);
      const int64 weight = layer.weight - step_.parameters, bias = layer.bias - step_.parameters;
      if (step_.alpha != 0) penalize(layer, inputs);
      update_range(weight + inputs.first * layer.outputs, inputs.size * layer.outputs);
      update_range(bias + outputs.first, outputs.size);
    }
  }

  void update_range(int64 first, int64 size) const {
    step_.update->run(step_.gradients, step_.parameters, step_.state[0], step_.state[1], scalars_,
                      first, first + size);
  }

  const Step<T>& step_;
  const Batch<T>& batch_;
  const double total_;  // weight of all rows
  const double* scalars_;
  const int parts_, member_, members_;
  const int64 last_;
  int part_ = 0;
};

// Do one step on a batch; with a loss that is not finite the parameters are left as they were.
template <typename T>
void run_step(const Step<T>& step, const Batch<T>& batch, const double* scalars, int parts) {
  const auto work = [&](int member) {
    Member<T>(step, batch, scalars, parts, member, parts).run();
  };
  if (parts > 1 && team().run(parts, true, work)) return;
  Member<T>(step, batch, scalars, parts, 0, 1).run();
}

}  // namespace gpubp
