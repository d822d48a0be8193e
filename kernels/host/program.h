// A list of operations made ready to run: phases, and what each part of them does. In which order
// they run, and where the threads must wait for each other, is found in schedule.h.
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
  std::vector<int> scalars;                // what its operation reads and writes of them
  bool cut = true;                         // whether rows may be cut into chunks
  bool holds = false;                      // what it reads for every chunk fills much of a cache
  std::vector<std::vector<Share>> shares;  // of every part, or of every part's chunks
  bool barrier = false;                    // wait for all others before it
  bool with_next = false;  // each chunk of it is followed by that chunk of the next phase
};

// How many weights there may be for the square of a batch's rows: usually, and where those are cut
// into chunks or a network is so large that a part's weights do not stay in its core's second
// cache; see `Program::by_rows`.
const int64 WEIGHTS_A_SQUARE = 8, MORE_WEIGHTS_A_SQUARE = 16, LARGE_NETWORK = 1000000;
// Rows of a chunk at most, and of what it is made up: a square of AMX has so many.
const int64 ROWS_OF_CHUNK = 128, ROWS_OF_SQUARE = 32;

class Program {
 public:
  explicit Program(int parts) : parts_(parts) {}

  int parts() const { return parts_; }
  Phase& add(Split split, int64 rows, int64 columns) {
    phases_.emplace_back();
    Phase& phase = phases_.back();
    phase.split = split;
    phase.rows = rows;
    phase.columns = columns;
    return phase;
  }
  const std::vector<Phase>& phases() const { return phases_; }
  const std::vector<Scalar>& scalars() const { return scalars_; }

  // Note which scalars the phases that `add` adds have to do with.
  template <typename Add>
  void add_operation(const Add& add) {
    const size_t before = phases_.size();
    asked_.clear();
    add();
    for (size_t at = before; at < phases_.size(); ++at) phases_[at].scalars = asked_;
  }

  // Return the place of a scalar, the same for the same array.
  int scalar(void* array, int64 bytes) {
    size_t place = 0;
    while (place < scalars_.size() &&
           (scalars_[place].array != array || scalars_[place].bytes != bytes))
      ++place;
    if (bytes > SCALAR_ROOM) throw Refusal("a scalar is too long");
    if (place == scalars_.size()) scalars_.push_back({array, bytes});
    asked_.push_back(static_cast<int>(place));
    return asked_.back();
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

  // Return memory for each part, the same at every call: a phase may use it while it and those that
  // are joined to it run.
  char* const* shared_rooms(int64 bytes) {
    while (shared_rooms_.size() < static_cast<size_t>(parts_))
      shared_rooms_.push_back(room<char>(bytes));
    return shared_rooms_.data();
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
  // On an AMD EPYC, of large networks: 1.0 to 1.04 times as fast with half as many rows.
  bool by_rows(int64 rows) const {
    const int64 fewest = int64(parts_) * ROWS_TOGETHER;
    const bool more = rows_of_chunk_ == ROWS_OF_CHUNK || count_ >= LARGE_NETWORK;
    const int64 weights = more ? MORE_WEIGHTS_A_SQUARE : WEIGHTS_A_SQUARE;
    return parts_ > 1 && rows >= fewest && weights * rows * rows >= count_;
  }

  // Have phases that are split by rows do a chunk of them after the other, each chunk as far as it
  // goes: what one phase has written of it is in the second cache still when the next one reads it.
  // Measured on an Intel Xeon: 1.2 times as fast with products in bfloat16; with products of
  // float32, which take longer, as fast as without. One part alone is not cut.
  void cut_into_chunks() {
    if (parts_ > 1) rows_of_chunk_ = ROWS_OF_CHUNK;
  }

  // Return the rows of a part, and how many chunks those of all parts before it are.
  Range rows_of(int part, int64 rows) const {
    const bool cut = rows > parts_ * rows_of_chunk_;
    return part_of(rows, part, parts_, cut ? ROWS_OF_SQUARE : ROWS_TOGETHER);
  }
  int64 chunks_before(int part, int64 rows) const {
    int64 count = 0;
    for (int before = 0; before < part; ++before)
      count += (rows_of(before, rows).size + rows_of_chunk_ - 1) / rows_of_chunk_;
    return count;
  }
  int64 chunks(int64 rows) const { return chunks_before(parts_, rows); }

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
  void move_up();
  void set_barriers();
  void share_out_chunks();
  void join_chunks();

  int parts_;
  int64 rows_of_chunk_ = int64(1) << 40;  // all rows of a part
  std::vector<Phase> phases_;
  std::vector<Scalar> scalars_;
  std::vector<int> asked_;
  std::vector<std::unique_ptr<char[]>> rooms_;
  std::vector<char*> shared_rooms_;
  std::vector<Mask> masks_;
  const char* gradients_ = nullptr;
  const void* parameters_ = nullptr;
  int64 count_ = 0, item_ = 1;
};

}  // namespace gpubp
