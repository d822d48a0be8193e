// A list of operations made ready to run: phases, what each part of them does, and where the
// threads must wait for each other.
//
// Each part owns some of the inputs of every layer: rows of its weights, of their gradients and of
// the optimizer's state, which lie together in memory and never leave its core's cache. In steps of
// few rows it multiplies them with its columns of the layer's inputs, so each has a share of every
// weighted sum; the shares are added, and the errors of all outputs looked at, by way of the memory
// both have, and these are small. In steps of many rows they are not: there each part has weighted
// sums and errors of rows of its own, and reads the weights of all.
#pragma once
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>

#include "partition.h"

namespace gpubp {

// A list of operations that cannot be planned, and why.
struct Refusal : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

// Numbers that every thread keeps for itself during a run, all of them computing the same: the
// clock, the scaling, the mean loss. Otherwise each of them would be worth two barriers.
struct Scalar {
  void* array;  // where it comes from, and goes to after the run
  int64 bytes;
};
const int64 SCALAR_ROOM = 64;

struct Member {
  int number;
  char* scalars;
  template <typename T>
  T* scalar(int place) const {
    return reinterpret_cast<T*>(scalars + place * SCALAR_ROOM);
  }
};

struct Phase {
  Split split;
  int64 rows, columns;  // of what is shared out; elements of the flat buffers are columns
  std::function<void(const Member&, const Share&)> work;
  std::function<void(int part)> prepare;  // once for each part, before its shares
  std::vector<Touch> reads, writes;
  std::vector<std::vector<Share>> shares;  // of every part
  bool barrier = false;                    // wait for all others before it
};

// How many weights there may be for the square of a batch's rows; see `Program::by_rows`.
const int64 WEIGHTS_A_SQUARE_OF_ROWS = 8;

class Program {
 public:
  explicit Program(int parts) : parts_(parts) {}

  int parts() const { return parts_; }
  Phase& add(Split split, int64 rows, int64 columns) {
    phases_.push_back(Phase{split, rows, columns, nullptr, nullptr, {}, {}, {}});
    return phases_.back();
  }
  const std::vector<Phase>& phases() const { return phases_; }
  const std::vector<Scalar>& scalars() const { return scalars_; }

  // Return the place of a scalar, the same for the same array.
  int scalar(void* array, int64 bytes) {
    for (size_t place = 0; place < scalars_.size(); ++place)
      if (scalars_[place].array == array && scalars_[place].bytes == bytes)
        return static_cast<int>(place);
    if (bytes > SCALAR_ROOM) throw Refusal("a scalar is too long");
    scalars_.push_back({array, bytes});
    return static_cast<int>(scalars_.size()) - 1;
  }

  // Return memory that lives as long as the program. Each piece begins at another place in its
  // page: a read waits for a write to another array whose address ends in the same 12 bits.
  template <typename T>
  T* room(int64 count) {
    const int64 page = 4096, bytes = count * static_cast<int64>(sizeof(T));
    rooms_.emplace_back(new char[static_cast<size_t>(bytes + 2 * page)]());
    char* begin = rooms_.back().get();
    begin += page - reinterpret_cast<std::uintptr_t>(begin) % page;
    return reinterpret_cast<T*>(begin + 320 * rooms_.size() % page);
  }

  // Return the memory of the dropout mask of these random numbers; `drawn` tells whether an earlier
  // operation of the step draws it.
  unsigned char* mask(uint64 seed, uint64 stream, int64 size, bool& drawn) {
    for (const Mask& mask : masks_)
      if (mask.seed == seed && mask.stream == stream && mask.size == size) {
        drawn = true;
        return mask.data;
      }
    masks_.push_back({seed, stream, size, room<unsigned char>(size)});
    return masks_.back().data;
  }

  // Note the flat buffers: who writes a gradient owns the parameter and the state at its place.
  void set_flat(const void* gradients, const void* parameters, int64 count, int64 item) {
    gradients_ = static_cast<const char*>(gradients);
    parameters_ = parameters;
    count_ = count;
    item_ = item;
  }
  const void* gradients() const { return gradients_; }
  const void* parameters() const { return parameters_; }
  int64 count() const { return count_; }

  // Tell whether a batch has many rows: each part then has rows of its own in a forward pass, and
  // of errors in a backward pass. Measured on an Intel Xeon with two threads, networks of 10,000
  // to 1.6 million weights: 1.0 to 1.6 times as fast from about so many rows on, slower with fewer.
  bool by_rows(int64 rows) const {
    const int64 fewest = int64(parts_) * ROWS_TOGETHER;
    return parts_ > 1 && rows >= fewest && WEIGHTS_A_SQUARE_OF_ROWS * rows * rows >= count_;
  }

  // Return a number that programs share which do the same on arrays of the same shapes.
  uint64 kind() const {
    uint64 number = static_cast<uint64>(parts_);
    const auto mix = [&](uint64 next) { number = (number ^ next) * 0x100000001b3; };  // FNV-1a
    for (const Phase& phase : phases_) {
      mix(static_cast<uint64>(phase.split));
      mix(static_cast<uint64>(phase.rows));
      mix(static_cast<uint64>(phase.columns));
    }
    return number;
  }

  void finish();

 private:
  struct Mask {
    uint64 seed, stream;
    int64 size;
    unsigned char* data;
  };

  void choose_splits();
  void share_out();
  std::vector<std::vector<Range>> owned() const;
  void set_barriers();
  bool touched_together(const Phase& one, const Phase& other) const;

  int parts_;
  std::vector<Phase> phases_;
  std::vector<Scalar> scalars_;
  std::vector<std::unique_ptr<char[]>> rooms_;
  std::vector<Mask> masks_;
  const char* gradients_ = nullptr;
  const void* parameters_ = nullptr;
  int64 count_ = 0, item_ = 1;
};

inline void Program::finish() {
  choose_splits();
  share_out();
  for (const Scalar& scalar : scalars_)
    for (const Phase& phase : phases_)
      for (const auto* touches : {&phase.reads, &phase.writes})
        for (const Touch& touch : *touches)
          for (const auto& shares : phase.shares)
            for (const Share& share : shares)
              if (overlap(touch(share), whole(scalar.array, scalar.bytes)(share)))
                throw Refusal("an array is a scalar to one operation and not to another");
  if (parts_ > 1) set_barriers();
}

// A flexible phase is split as the next one that touches its result.
inline void Program::choose_splits() {
  for (size_t at = phases_.size(); at-- > 0;) {
    Phase& phase = phases_[at];
    if (phase.split != FLEXIBLE) continue;
    phase.split = COLUMNS;
    const Share all{0, {0, phase.rows}, {0, phase.columns}};
    const Area result = phase.writes.front()(all);
    for (size_t next = at + 1; next < phases_.size(); ++next) {
      const Phase& reader = phases_[next];
      const Share other{0, {0, reader.rows}, {0, reader.columns}};
      bool touches = false;
      for (const auto* of : {&reader.reads, &reader.writes})
        for (const Touch& touch : *of) touches = touches || overlap(result, touch(other));
      if (!touches) continue;
      if (reader.split == ROWS && reader.rows == phase.rows) phase.split = ROWS;
      break;
    }
  }
}

inline void Program::share_out() {
  for (Phase& phase : phases_) {
    phase.shares.resize(static_cast<size_t>(parts_));
    const Range rows{0, phase.rows}, columns{0, phase.columns};
    for (int part = 0; part < parts_; ++part) {
      Share share{part, rows, columns};
      if (phase.split == COLUMNS) share.columns = part_of(phase.columns, part, parts_);
      if (phase.split == ROWS) share.rows = part_of(phase.rows, part, parts_, ROWS_TOGETHER);
      const bool some = share.rows.size > 0 && share.columns.size > 0;
      if (phase.split != OWNED && (some || phase.split == EVERYWHERE))
        phase.shares[static_cast<size_t>(part)].push_back(share);
    }
  }
  const auto ranges = owned();
  for (Phase& phase : phases_)
    for (size_t part = 0; phase.split == OWNED && part < ranges.size(); ++part)
      for (const Range& range : ranges[part]) {
        // what lies behind the gradients in a longer buffer goes to the last part
        const bool last = range.end() == count_;
        const int64 end = last ? phase.columns : std::min(range.end(), phase.columns);
        if (range.first < end)
          phase.shares[part].push_back(
              {static_cast<int>(part), {0, 1}, {range.first, end - range.first}});
      }
}

// The elements of the flat gradients that each part writes before they are used, in ranges.
inline std::vector<std::vector<Range>> Program::owned() const {
  std::vector<std::vector<Range>> ranges(static_cast<size_t>(parts_));
  int64 longest = count_;
  for (const Phase& phase : phases_)
    if (phase.split == OWNED) longest = std::max(longest, phase.columns);
  const int64 size = gradients_ ? count_ : longest;
  std::vector<short> owner(static_cast<size_t>(size), -1);
  for (const Phase& phase : phases_) {
    if (!gradients_ || phase.split == OWNED || phase.split == EVERYWHERE) continue;
    for (const auto& shares : phase.shares)
      for (const Share& share : shares)
        for (const Touch& touch : phase.writes) {
          const Area area = touch(share);
          const char* end = gradients_ + count_ * item_;
          if (area.empty() || area.count > 1 || area.begin < gradients_ || area.end() > end)
            continue;
          for (int64 i = (area.begin - gradients_) / item_; i < (area.end() - gradients_) / item_;
               ++i)
            if (owner[static_cast<size_t>(i)] < 0)
              owner[static_cast<size_t>(i)] = static_cast<short>(share.part);
        }
  }
  for (int part = 0; part < parts_; ++part) {  // what nobody writes is shared out evenly
    const Range own = part_of(size, part, parts_);
    for (int64 i = own.first; i < own.end(); ++i)
      if (owner[static_cast<size_t>(i)] < 0)
        owner[static_cast<size_t>(i)] = static_cast<short>(part);
  }
  for (int64 first = 0, end = 0; first < size; first = end) {
    const short part = owner[static_cast<size_t>(first)];
    while (end < size && owner[static_cast<size_t>(end)] == part) ++end;
    ranges[static_cast<size_t>(part)].push_back({first, end - first});
  }
  return ranges;
}

// Tell whether two parts touch the same memory in two phases, and one of them writes.
inline bool Program::touched_together(const Phase& one, const Phase& other) const {
  const auto meet = [](const std::vector<Touch>& mine, const Share& me,
                       const std::vector<Touch>& yours, const Share& you) {
    for (const Touch& first : mine)
      for (const Touch& second : yours)
        if (overlap(first(me), second(you))) return true;
    return false;
  };
  for (const auto& mine : one.shares)
    for (const Share& me : mine)
      for (const auto& yours : other.shares)
        for (const Share& you : yours)
          if (me.part != you.part &&
              (meet(one.writes, me, other.reads, you) || meet(one.writes, me, other.writes, you) ||
               meet(one.reads, me, other.writes, you)))
            return true;
  return false;
}

// Walk through two steps, as the second begins where the first has ended.
inline void Program::set_barriers() {
  const size_t count = phases_.size();
  size_t since = 0;  // the first phase after the last barrier
  for (size_t at = 0; at < 2 * count; ++at) {
    Phase& phase = phases_[at % count];
    for (size_t before = since; before < at && !phase.barrier; ++before)
      phase.barrier = touched_together(phases_[before % count], phase);
    if (phase.barrier) since = at;
  }
}

}  // namespace gpubp
