// How the work of a step is shared out: a fixed number of parts, of which each takes its share of
// every phase. Which part does what decides the order of every sum, and so does not depend on how
// many threads there are.
#pragma once
#include <algorithm>
#include <functional>
#include <vector>

#include "../math.cuh"

namespace gpubp {

struct Range {
  int64 first, size;
  int64 end() const { return first + size; }
};

const int64 LINE = 16;          // numbers of float32 in a cache line
const int64 ROWS_TOGETHER = 8;  // of a product: a tile has so many

// One of several parts of `total` items, in multiples of a unit.
inline Range part_of(int64 total, int part, int parts, int64 unit = LINE) {
  const int64 units = (total + unit - 1) / unit;
  const int64 first = std::min(total, units * part / parts * unit);
  const int64 end = std::min(total, units * (part + 1) / parts * unit);
  return {first, end - first};
}

// By what a phase is shared out:
//   COLUMNS     units of a layer, all rows of the batch
//   ROWS        rows of the batch, or of a weight: the units that lead into it
//   FLEXIBLE    columns or rows, whichever the phase wants that reads the result
//   OWNED       elements of the flat buffers, each by the part that wrote its gradient
//   EVERYWHERE  not at all: every thread does it, on scalars of its own
enum Split { COLUMNS, ROWS, FLEXIBLE, OWNED, EVERYWHERE };

// What one part does of a phase, or of some chunks of its rows: those of all parts are numbered one
// after the other.
struct Share {
  int part;
  Range rows, columns, chunks;
};

// Memory that a share reads or writes: `count` times `width` bytes, `pitch` apart.
struct Area {
  const char* begin;
  int64 width, pitch, count;
  const char* end() const { return begin + (count - 1) * pitch + width; }
  bool empty() const { return width <= 0 || count <= 0; }
};

// Tell whether two areas may have a byte in common: exactly for columns of one and the same matrix.
inline bool overlap(const Area& a, const Area& b) {
  if (a.empty() || b.empty() || a.end() <= b.begin || b.end() <= a.begin) return false;
  if (a.pitch != b.pitch || a.count == 1 || b.count == 1) return true;
  const int64 pitch = a.pitch, shift = ((b.begin - a.begin) % pitch + pitch) % pitch;
  return shift < a.width || pitch - shift < b.width;
}

// Where a phase touches an array, as a function of the share.
typedef std::function<Area(const Share&)> Touch;

inline Touch whole(const void* data, int64 bytes) {
  return [=](const Share&) { return Area{static_cast<const char*>(data), bytes, bytes, 1}; };
}

// The share's rows and columns of a matrix with so many columns.
template <typename T>
Touch matrix(const T* data, int64 columns) {
  return [=](const Share& s) {
    const char* begin = reinterpret_cast<const char*>(data + s.rows.first * columns);
    const int64 size = sizeof(T), pitch = columns * size;
    if (s.columns.size == columns) return Area{begin, s.rows.size * pitch, pitch, 1};
    return Area{begin + s.columns.first * size, s.columns.size * size, pitch, s.rows.size};
  };
}

// An item of so many elements for each of the share's columns.
template <typename T>
Touch across(const T* data, int64 item = 1) {
  return [=](const Share& s) {
    const int64 size = item * static_cast<int64>(sizeof(T));
    const char* begin = reinterpret_cast<const char*>(data) + s.columns.first * size;
    return Area{begin, s.columns.size * size, s.columns.size * size, 1};
  };
}

// An item of so many elements for each of the share's rows.
template <typename T>
Touch down(const T* data, int64 item = 1) {
  const Touch touch = across(data, item);
  return [=](const Share& s) { return touch({s.part, s.columns, s.rows, s.chunks}); };
}

// An item of so many elements for each part, and for each chunk.
template <typename T>
Touch by_part(const T* data, int64 item = 1) {
  const Touch touch = across(data, item);
  return [=](const Share& s) { return touch({s.part, {0, 1}, {s.part, 1}, s.chunks}); };
}
template <typename T>
Touch by_chunk(const T* data, int64 item = 1) {
  const Touch touch = across(data, item);
  return [=](const Share& s) { return touch({s.part, {0, 1}, s.chunks, s.chunks}); };
}

}  // namespace gpubp
