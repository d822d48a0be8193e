// What changes from step to step of training on a GPU, kept in device memory so that a recorded
// step can be replayed: the clock, and the scale of a float16 loss.
#pragma once
#include "lanes.cuh"

namespace gpubp {

// Places in the clock, an array of int64: the number of the step since the network was made (which
// selects dropout masks), the batch of the epoch, and the row of the table of optimizer settings.
// From NEXT on the same three stand for the step to come: what ends a step while others still read
// its clock writes there, and what begins the next one takes them from there.
enum { STEP, BATCH, SETTINGS, NEXT, CLOCK_SIZE = 2 * NEXT };

// Places in the scaling, an array of float: what gradients are multiplied by, whether one was not
// finite in this step, and the steps since the scale was last changed.
enum { SCALE, OVERFLOWED, GOOD_STEPS, SCALING_SIZE };

template <typename T>
GPUBP_HD bool is_finite(T value) {
  return value - value == T(0);
}

// Halve the scale after an overflow, double it after `growth` steps without one; 0 leaves it.
// Micikevicius et al. 2018, "Mixed precision training".
GPUBP_HD void rescale(float* scaling, int64 growth) {
  if (growth == 0) return;
  const bool overflowed = scaling[OVERFLOWED] != 0.0f;
  scaling[GOOD_STEPS] = overflowed ? 0.0f : scaling[GOOD_STEPS] + 1.0f;
  if (overflowed) scaling[SCALE] *= 0.5f;
  if (scaling[GOOD_STEPS] >= float(growth)) {
    scaling[SCALE] *= 2.0f;
    scaling[GOOD_STEPS] = 0.0f;
  }
}

// End a step: note its loss, and go on to the next. Where gradients are gathered over several steps
// only the last of them has `updated` the parameters, which is 1 then and 0 else.
template <typename T>
GPUBP_HD void finish_step(T mean, T* losses, long long* clock, float* scaling, int64 growth,
                          int64 updated) {
  losses[clock[BATCH]] = mean / T(scaling[SCALE]);
  ++clock[STEP];
  ++clock[BATCH];
  if (updated) {
    ++clock[SETTINGS];
    rescale(scaling, growth);
    scaling[OVERFLOWED] = 0.0f;
  }
  for (int place = 0; place < NEXT; ++place) clock[NEXT + place] = clock[place];
}

// End a step beside the update that reads its clock: one warp adds up the losses of `count` rows or
// groups of rows, and the clock of the next step is written.
template <typename T>
GPUBP_HD void finish_beside(const T* sums, int64 count, T* losses, long long* clock, Warp lanes) {
  const T mean = strided_sum(sums, count, 1, lanes);
  if (!lanes.leads()) return;
  losses[clock[BATCH]] = mean;
  for (int place = 0; place < NEXT; ++place) clock[NEXT + place] = clock[place] + 1;
}

// Return the batch of the step to come; thread 0 brings the clock to that step. Nothing else in the
// same kernel may read the clock.
GPUBP_HD int64 begin_step(long long* clock, int64 thread) {
  if (thread == 0)
    for (int place = 0; place < NEXT; ++place) clock[place] = clock[NEXT + place];
  return clock[NEXT + BATCH];
}

}  // namespace gpubp
