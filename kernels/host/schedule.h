// In which order the phases of a program run, what each part does of them, and where the threads
// must wait for each other.
#pragma once
#include "program.h"

namespace gpubp {

inline void Program::finish() {
  choose_splits();
  share_out();
  move_up();
  for (const Scalar& scalar : scalars_)
    for (const Phase& phase : phases_)
      for (const auto* touches : {&phase.reads, &phase.writes})
        for (const Touch& touch : *touches)
          for (const auto& shares : phase.shares)
            for (const Share& share : shares)
              if (overlap(touch(share), whole(scalar.array, scalar.bytes)(share)))
                throw Refusal("an array is a scalar to one operation and not to another");
  if (parts_ == 1) return;
  set_barriers();
  share_out_chunks();
  join_chunks();
}

// A flexible phase is split as the next one that touches its result.
inline void Program::choose_splits() {
  for (size_t at = phases_.size(); at-- > 0;) {
    Phase& phase = phases_[at];
    if (phase.split != FLEXIBLE) continue;
    phase.split = COLUMNS;
    const Share all{0, {0, phase.rows}, {0, phase.columns}, {0, 0}};
    const Area result = phase.writes.front()(all);
    for (size_t next = at + 1; next < phases_.size(); ++next) {
      const Phase& reader = phases_[next];
      const Share other{0, {0, reader.rows}, {0, reader.columns}, {0, 0}};
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
    for (int part = 0; part < parts_; ++part) {
      Share share{part, {0, phase.rows}, {0, phase.columns}, {0, 0}};
      if (phase.split == COLUMNS) share.columns = part_of(phase.columns, part, parts_);
      if (phase.split == ROWS) {
        const int64 first = chunks_before(part, phase.rows);
        share.rows = rows_of(part, phase.rows);
        share.chunks = {first, chunks_before(part + 1, phase.rows) - first};
      }
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
              {static_cast<int>(part), {0, 1}, {range.first, end - range.first}, {0, 0}});
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

// Tell whether one share writes what another one reads or writes.
inline bool conflict(const Phase& one, const Share& mine, const Phase& other, const Share& yours) {
  const auto meet = [&](const std::vector<Touch>& some, const std::vector<Touch>& others) {
    for (const Touch& first : some)
      for (const Touch& second : others)
        if (overlap(first(mine), second(yours))) return true;
    return false;
  };
  return meet(one.writes, other.reads) || meet(one.writes, other.writes) ||
         meet(one.reads, other.writes);
}

// Tell whether shares of two phases conflict: of two parts, or of any.
inline bool conflict(const Phase& one, const Phase& other, bool of_two_parts) {
  for (const auto& shares : one.shares)
    for (const Share& mine : shares)
      for (const auto& others : other.shares)
        for (const Share& yours : others)
          if ((mine.part != yours.part || !of_two_parts) && conflict(one, mine, other, yours))
            return true;
  return false;
}

// Tell whether two phases have to do with the same scalar, and one of them may change it.
inline bool share_scalars(const Phase& one, const Phase& other) {
  if (one.split != EVERYWHERE && other.split != EVERYWHERE) return false;
  for (int scalar : one.scalars)
    for (int of_other : other.scalars)
      if (scalar == of_other) return true;
  return false;
}

// Let phases whose rows are cut into chunks follow each other, where nothing between them hinders
// it.
inline void Program::move_up() {
  size_t behind = 0;  // the last one
  for (size_t at = 0; at < phases_.size(); ++at) {
    const Phase& phase = phases_[at];
    if (phase.split != ROWS || chunks(phase.rows) <= parts_) continue;
    bool free = behind > 0;
    for (size_t between = behind; between < at && free; ++between)
      free = !conflict(phases_[between], phase, false) && !share_scalars(phases_[between], phase);
    const auto begin = phases_.begin();
    if (free) std::rotate(begin + int64(behind), begin + int64(at), begin + int64(at) + 1);
    behind = (free ? behind : at) + 1;
  }
}

// Walk through two steps, as the second begins where the first has ended.
inline void Program::set_barriers() {
  const size_t count = phases_.size();
  size_t since = 0;  // the first phase after the last barrier
  for (size_t at = 0; at < 2 * count; ++at) {
    Phase& phase = phases_[at % count];
    for (size_t before = since; before < at && !phase.barrier; ++before)
      phase.barrier = conflict(phases_[before % count], phase, true);
    if (phase.barrier) since = at;
  }
}

// Cut the rows of each part into chunks of much the same size.
inline void Program::share_out_chunks() {
  for (Phase& phase : phases_) {
    if (phase.split != ROWS || !phase.cut) continue;
    for (auto& shares : phase.shares) {
      std::vector<Share> cut;
      for (const Share& share : shares)
        for (int64 chunk = 0; chunk < share.chunks.size; ++chunk) {
          const Range rows =
              part_of(share.rows.size, int(chunk), int(share.chunks.size), ROWS_OF_SQUARE);
          cut.push_back({share.part,
                         {share.rows.first + rows.first, rows.size},
                         share.columns,
                         {share.chunks.first + chunk, 1}});
        }
      shares = cut;
    }
  }
}

// Join phases of the same chunks. None needs rows of another chunk, or another part's rows too
// would have to be there, and it had a barrier. What two of them read for every chunk would not
// stay in a cache.
inline void Program::join_chunks() {
  bool holds = false;
  for (size_t at = 0; at + 1 < phases_.size(); ++at) {
    Phase& phase = phases_[at];
    const Phase& next = phases_[at + 1];
    const bool chunks = phase.split == ROWS && phase.cut && next.split == ROWS && next.cut;
    holds = holds || phase.holds;
    phase.with_next = chunks && phase.rows == next.rows && !next.barrier && !(holds && next.holds);
    holds = holds && phase.with_next;
  }
}

}  // namespace gpubp
