// Threads that help with long loops and sleep between them. They never spin: NumPy's BLAS keeps its
// own threads spinning for a while after each product, and two spinning pools stop each other.
#pragma once
#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#ifndef _WIN32
#include <unistd.h>
#endif

namespace gpubp {

class WorkerThreads {
 public:
  // Call work(0), ..., work(count - 1), each once, in any order, on the caller's and other threads.
  // Chunks must not depend on each other: then the result does not depend on who did which.
  void run(long long count, int threads, const std::function<void(long long)>& work) {
    std::unique_lock<std::mutex> alone(busy_, std::try_to_lock);
    if (!alone.owns_lock() || threads < 2) {  // another Python thread has the helpers
      for (long long chunk = 0; chunk < count; ++chunk) work(chunk);
      return;
    }
    {
      std::lock_guard<std::mutex> lock(mutex_);
      for (; helpers_ < threads - 1; ++helpers_) std::thread([this] { help(); }).detach();
      work_ = &work;
      count_ = count;
      next_ = 0;
      wanted_ = threads - 1;
    }
    wake_.notify_all();
    take_chunks(work);
    std::unique_lock<std::mutex> lock(mutex_);
    wanted_ = 0;  // a helper that wakes only now finds nothing to join
    done_.wait(lock, [this] { return joined_ == 0; });
  }

 private:
  void help() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return wanted_ > 0; });
      --wanted_;
      ++joined_;
      const std::function<void(long long)>& work = *work_;
      lock.unlock();
      take_chunks(work);
      lock.lock();
      if (--joined_ == 0) done_.notify_one();
    }
  }

  void take_chunks(const std::function<void(long long)>& work) {
    for (long long chunk = next_++; chunk < count_; chunk = next_++) work(chunk);
  }

  std::mutex busy_, mutex_;
  std::condition_variable wake_, done_;
  const std::function<void(long long)>* work_ = nullptr;
  long long count_ = 0;
  std::atomic<long long> next_{0};
  int helpers_ = 0, wanted_ = 0, joined_ = 0;
};

// The threads of this process: a forked child has none of its parent's and gets new ones. Never
// destroyed, as helpers may still sleep in it when the process ends.
inline WorkerThreads& worker_threads() {
  static WorkerThreads* threads = new WorkerThreads;
#ifndef _WIN32
  static pid_t owner = getpid();
  if (owner != getpid()) {
    threads = new WorkerThreads;
    owner = getpid();
  }
#endif
  return *threads;
}

}  // namespace gpubp
