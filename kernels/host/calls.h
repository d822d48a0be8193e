// An operation of a step as Python hands it over: its name, and the arrays and numbers it is called
// with, checked as they are asked for.
#pragma once
#include <cmath>

#include "functions.h"
#include "multiply.h"
#include "program.h"

namespace gpubp {

// An array, or a number; `type` is 'f', 'd', 'q' (int64), 'B', 'e' (float16), '-' for a number.
struct Value {
  char type = '-';
  void* data = nullptr;
  int64 rows = 1, columns = 1, size = 0;
  double number = 0;
  uint64 whole = 0;
};

template <typename T>
char type_of() {
  return sizeof(T) == 4 ? 'f' : 'd';
}
template <>
inline char type_of<int64>() {
  return 'q';
}

template <typename T>
struct Matrix {
  T* data;
  int64 rows, columns;
  int64 size() const { return rows * columns; }
};

// A number that stays the same, or the one of `rows` that the clock selects.
struct Setting {
  double number;
  const double* rows;
  int64 count;
  int clock;
  double of(const Member& member) const;
};

class Call {
 public:
  std::string name;
  std::vector<Value> values;

  size_t count() const { return values.size(); }
  const Value& value(size_t place) const {
    if (place >= values.size()) throw Refusal(name + " has too few arguments");
    return values[place];
  }
  bool is_array(size_t place) const { return place < count() && values[place].type != '-'; }

  // An array of T; of one dimension it is a column.
  template <typename T>
  Matrix<T> matrix(size_t place) const {
    const Value& found = value(place);
    if (found.type != type_of<T>()) throw Refusal(name + " has an array of another type");
    return {static_cast<T*>(found.data), found.rows, found.columns};
  }

  template <typename T>
  T* array(size_t place, int64 size) const {
    const Matrix<T> found = matrix<T>(place);
    if (found.size() != size) throw Refusal(name + " has an array of another size");
    return found.data;
  }

  template <typename T>
  Matrix<T> like(size_t place, int64 rows, int64 columns) const {
    const Matrix<T> found = matrix<T>(place);
    if (found.rows != rows || found.columns != columns)
      throw Refusal(name + " has an array of another shape");
    return found;
  }

  // The place of a small array that every thread keeps for itself.
  template <typename T>
  int scalar(Program& program, size_t place, int64 size) const {
    return program.scalar(array<T>(place, size), size * static_cast<int64>(sizeof(T)));
  }

  // The clock: the step, the batch of the epoch, the row of the settings; and those to come, which
  // nothing here writes early.
  int clock(Program& program, size_t place) const { return scalar<int64>(program, place, 6); }

  // The scaling, of float32: the scale of the loss, an overflow, steps without one.
  int scaling(Program& program, size_t place) const {
    const Value& found = value(place);
    if (found.type != 'f' || found.size != 3) throw Refusal(name + " has no scaling");
    return program.scalar(found.data, 12);
  }

  // A setting: a number and one more that is not read, or numbers and the clock.
  Setting setting(Program& program, size_t place) const {
    if (!is_array(place)) return {number(place), nullptr, 0, 0};
    const Matrix<double> rows = matrix<double>(place);
    if (rows.size() == 0) throw Refusal(name + " has a setting without numbers");
    return {0, rows.data, rows.size(), clock(program, place + 1)};
  }

  double number(size_t place) const { return value(place).number; }
  uint64 whole(size_t place) const { return value(place).whole; }

  // The place of a function in a table of so many.
  int chosen(size_t place, int64 size) const {
    if (value(place).whole >= static_cast<uint64>(size)) throw Refusal(name + " is not known");
    return static_cast<int>(value(place).whole);
  }
};

// The number of entries of a table, whose last has no name.
template <typename Entry>
int64 count_of(const Entry* entries) {
  int64 count = 0;
  while (entries[count].name) ++count;
  return count;
}

// Sum the weights of some rows.
template <typename T>
double sum_of(const T* weights, int64 rows) {
  double sum = 0;
  for (int64 row = 0; row < rows; ++row) sum += weights[row];
  return sum;
}

enum { STEP, BATCH, SETTINGS };
enum { SCALE, OVERFLOWED, GOOD_STEPS };

inline double Setting::of(const Member& member) const {
  if (!rows) return number;
  const int64 row = member.scalar<int64>(clock)[SETTINGS];
  return rows[std::min(std::max<int64>(row, 0), count - 1)];
}

template <typename T>
Touch whole_of(const Matrix<T>& m) {
  return whole(m.data, m.size() * static_cast<int64>(sizeof(T)));
}

template <typename T>
Touch matrix_of(const Matrix<T>& m) {
  return matrix(m.data, m.columns);
}

}  // namespace gpubp
