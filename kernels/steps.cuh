// What changes from step to step of training on a GPU, kept in device memory so that a recorded
// step can be replayed: the clock, and the scale of a float16 loss.
#pragma once
#include "math.cuh"

namespace gpubp {

// Places in the clock, an array of int64: the number of the step since the network was made (which
// selects dropout masks), the batch of the epoch, and the row of the table of optimizer settings.
enum { STEP, BATCH, SETTINGS, CLOCK_SIZE };

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
  if (!updated) return;
  ++clock[SETTINGS];
  rescale(scaling, growth);
  scaling[OVERFLOWED] = 0.0f;
}

}  // namespace gpubp
