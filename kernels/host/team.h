// A team of threads for short work: the caller and helpers that wait for it between two pieces.
//
// Two ways to work. In chunks: whoever is awake takes the next chunk, and a helper that wakes too
// late is not waited for. Together: every member runs the same function on its own part, with
// barriers between the phases; afterwards the helpers look out for the next piece for a fraction of
// a millisecond before they sleep, as a training loop brings it at once. They do not look out after
// work in chunks: NumPy's BLAS has threads that spin then, and two spinning pools stop each other.
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#ifdef __linux__
#include <sched.h>
#endif
#ifndef _WIN32
#include <unistd.h>
#endif
#if defined(__SSE2__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace gpubp {

inline void pause_briefly() {
#if defined(__SSE2__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__) && defined(__GNUC__)
  __asm__ volatile("yield");
#endif
}

// The processor of this thread; -1 where the system does not say.
inline int own_processor() {
#ifdef __linux__
  return sched_getcpu();
#else
  return -1;
#endif
}

// Keeps a helper from the processor of the thread that it works with, for a while after a long
// sleep: Linux then wakes it there again and again, where only one of both gets on, for some
// hundredths of a second. Later it is left to Linux, which knows what else the processors do.
class Apart {
 public:
  // The helper has slept so many seconds and now works with a thread on this processor.
  void woken(double slept, int processor) {
#ifdef __linux__
    const double long_sleep = 0.02, a_while = 0.1, now = seconds();
    if (slept > long_sleep) since_ = now;
    const bool soon = now - since_ < a_while, together = soon && own_processor() == processor;
    cpu_set_t all;
    if (!together && (soon || !away_)) return;
    if (sched_getaffinity(getpid(), sizeof all, &all) != 0) return;
    if (together) CPU_CLR(static_cast<size_t>(processor), &all);
    if (CPU_COUNT(&all) > 0) sched_setaffinity(0, sizeof all, &all);
    away_ = together;
#else
    (void)slept, (void)processor;
#endif
  }

  static double seconds() {
    const auto since = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double>(since).count();
  }

 private:
  bool away_ = false;
  double since_ = 0;
};

// Where threads wait for what another one says: they look out for it a while, as mostly it comes at
// once, and then sleep. Whoever it waits for has lost its processor then, and a thread that sleeps
// meanwhile gets one back the sooner.
class Meeting {
 public:
  // Wait until `ready()`, which becomes true before somebody calls `tell`.
  template <typename Ready>
  void wait(Ready ready) {
    for (int look = 0; look < LOOKS; ++look) {
      if (ready()) return;
      pause_briefly();
    }
    std::unique_lock<std::mutex> lock(mutex_);
    sleepers_.fetch_add(1);
    wake_.wait(lock, ready);
    sleepers_.fetch_sub(1);
  }

  // Wake those that sleep. What they wait for and `sleepers_` are read and written in one order
  // for all threads: either this sees a sleeper, or the sleeper sees what has become true.
  void tell() {
    if (sleepers_.load() == 0) return;
    std::lock_guard<std::mutex> lock(mutex_);
    wake_.notify_all();
  }

 private:
  static const int LOOKS = 2000;

  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<int> sleepers_{0};
};

// Whether this thread of Python works without the team: another one trains beside it.
static thread_local bool works_alone = false;

class Team {
 public:
  // Call work(member) on the caller, which is member 0, and on up to members - 1 helpers; with
  // `together` on all of them, at the same time. Returns false, having done nothing, when the
  // caller works alone, another Python thread has the team or the system gives no more threads.
  template <typename Work>
  bool run(int members, bool together, const Work& work) {
    if (works_alone) return false;
    std::unique_lock<std::mutex> alone(busy_, std::try_to_lock);
    if (!alone.owns_lock() || !have_helpers(members - 1)) return false;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      call_ = [](const void* given, int member) { (*static_cast<const Work*>(given))(member); };
      work_ = &work;
      members_ = members;
      together_ = together;
      places_ = members - 1;
      joined_ = 0;
      finished_ = 0;
      arrived_ = 0;
      processor_ = own_processor();
      ++piece_;
    }
    wake_.notify_all();
    work(0);
    int joined;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (!together) places_ = 0;  // a helper that wakes only now finds no place
      joined = together ? members - 1 : joined_;
    }
    meeting_.wait([&] { return finished_.load() == joined; });
    return true;
  }

  // Wait until every member has come here; only within work done together.
  void barrier() {
    const int phase = phase_.load();
    if (arrived_.fetch_add(1) == members_ - 1) {
      arrived_.store(0, std::memory_order_relaxed);
      phase_.store(phase + 1);
      meeting_.tell();
    } else {
      meeting_.wait([&] { return phase_.load() != phase; });
    }
  }

 private:
  bool have_helpers(int wanted) {
    try {
      for (; helpers_ < wanted; ++helpers_) std::thread([this] { help(); }).detach();
    } catch (const std::system_error&) {
      return false;
    }
    return true;
  }

  void help() {
    unsigned seen = 0;
    bool stay_awake = false;
    Apart apart;
    for (;;) {
      for (int look = 0; stay_awake && look < 5000 && piece_ == seen; ++look) pause_briefly();
      const double before = Apart::seconds();
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return piece_ != seen; });
      const double slept = Apart::seconds() - before;
      seen = piece_;
      if (places_ == 0) continue;
      --places_;
      const int member = ++joined_;
      const auto call = call_;
      const void* work = work_;
      const int processor = processor_;
      stay_awake = together_;
      lock.unlock();
      apart.woken(slept, processor);
      call(work, member);
      finished_.fetch_add(1);
      meeting_.tell();
    }
  }

  std::mutex busy_, mutex_;
  std::condition_variable wake_;
  Meeting meeting_;
  void (*call_)(const void* work, int member) = nullptr;
  const void* work_ = nullptr;
  std::atomic<unsigned> piece_{0};
  std::atomic<int> finished_{0}, arrived_{0}, phase_{0};
  int helpers_ = 0, members_ = 1, places_ = 0, joined_ = 0, processor_ = -1;
  bool together_ = false;
};

// The team of this process: a forked child has none of its parent's threads and gets new ones.
// Never destroyed, as helpers may still wait in it when the process ends.
inline Team& team() {
  static Team* found = new Team;
#ifndef _WIN32
  static pid_t owner = getpid();
  if (owner != getpid()) {
    found = new Team;
    owner = getpid();
  }
#endif
  return *found;
}

}  // namespace gpubp
