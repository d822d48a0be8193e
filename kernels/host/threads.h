// How many threads do a step: all, or one where another program has the processors. Then a thread
// that waits for one that has lost its processor loses more than two threads gain. It is found by
// the time of steps: mostly the usual way is taken, the other tried now and then, the less often
// the longer it has lost, and at once when steps have become slower. A trial is longer than the
// slices of time that processors are given in, so that it is not by luck that it was not disturbed.
// Steps much longer than that are not tried on one thread: what they do between two barriers is
// longer, too, so that all threads get on. No number depends on it.
#pragma once
#include <algorithm>
#include <map>
#include <memory>
#include <mutex>

#include "../math.cuh"

namespace gpubp {

// Seconds: between two looks at the clock, of a trial, from one look at the usual way to the next,
// and of a step that is long. A trial lasts a step at least; from one to the next it is OFTEN to
// SELDOM times as long.
const double LOOK = 0.002, TRIAL = 0.012, WINDOW = 0.05, LONG_STEP = 0.1, OFTEN = 20, SELDOM = 160;

// Its locks are tried only: in a forked child they may stay locked.
class Threads {
 public:
  // Do steps by `run(members, steps)`, which returns the seconds taken, until `count` are done,
  // with at most so many members.
  template <typename Run>
  void share_out(int most, int64 count, const Run& run) {
    if (most == 1) {
      run(1, count);
      return;
    }
    while (count > 0) {
      const Next next = look_up();
      const int64 steps = std::min(count, next.steps);
      note(next.all, run(next.all ? most : 1, steps), steps);
      count -= steps;
    }
  }

 private:
  struct Next {
    bool all;
    int64 steps;
  };

  Next look_up() {
    std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
    return lock.owns_lock() ? Next{all_ != trying_, steps_at_once_} : Next{true, 1};
  }

  void note(bool all, double seconds, int64 steps) {
    std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
    // another network of this kind has changed the way, or is about to
    if (!lock.owns_lock() || all != (all_ != trying_)) return;
    seconds_ += std::max(seconds, 1e-9);  // clocks are coarse
    steps_ += steps;
    steps_at_once_ = std::max<int64>(1, int64(LOOK * double(steps_) / seconds_));
    if (seconds_ < (trying_ ? TRIAL : WINDOW)) return;
    const double found = seconds_ / double(steps_);
    if (trying_)
      choose(found);
    else
      watch(found);
    seconds_ = 0;
    steps_ = 0;
  }

  // Take note of the usual way's seconds a step, and begin a trial of the other when it is time.
  void watch(double found) {
    double& usual = seconds_a_step_[all_];
    const bool slower = usual > 0 && found > 1.3 * usual;
    if (slower) seconds_a_step_[!all_] = 0;  // the other way may be slower now, too
    usual = usual == 0 || slower ? found : (usual + found) / 2;
    waited_ += seconds_;
    const bool soon = slower || waited_ >= apart_ * std::max(TRIAL, usual);
    trying_ = soon && !(all_ && found > LONG_STEP);
  }

  // End a trial of the other way, and make it the usual one if it is faster.
  void choose(double found) {
    const double usual = seconds_a_step_[all_];
    double& other = seconds_a_step_[!all_];
    other = other == 0 ? found : (other + found) / 2;  // luck counts less and less
    // where the two are alike the better one may change soon
    apart_ = other < 1.3 * usual ? OFTEN : std::min(2 * apart_, SELDOM);
    if (other < 0.95 * usual) all_ = !all_;
    trying_ = false;
    waited_ = 0;
  }

  std::mutex mutex_;
  bool all_ = true, trying_ = false;
  double seconds_a_step_[2] = {0, 0};  // by one thread, and by all
  double apart_ = OFTEN, waited_ = 0, seconds_ = 0;
  int64 steps_ = 0, steps_at_once_ = 1;
};

// What was found of steps of a kind is kept from one training to the next: a short one ends before
// it has found it.
inline std::shared_ptr<Threads> threads_of(uint64 kind) {
  static std::mutex mutex;
  static auto* known = new std::map<uint64, std::shared_ptr<Threads>>;
  const size_t most = 1000;
  std::unique_lock<std::mutex> lock(mutex, std::try_to_lock);
  if (!lock.owns_lock()) return std::make_shared<Threads>();
  if (known->size() >= most) known->clear();
  std::shared_ptr<Threads>& found = (*known)[kind];
  if (!found) found = std::make_shared<Threads>();
  return found;
}

}  // namespace gpubp
