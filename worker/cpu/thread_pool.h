// A fixed set of threads that share the items of one loop at a time.
//
// Items are claimed one by one, so a thread that the machine does not schedule delays only the item
// it holds: ranks that share cores do not wait for each other's sleeping threads. Idle threads spin
// for some microseconds, then sleep in the kernel. One thread (the owner) calls Run.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"

namespace headgate {

class ThreadPool {
 public:
  using Body = absl::FunctionRef<void(int64_t item, int thread)>;

  // `threads` counts the calling thread: 1 starts none. REQUIRES: threads >= 1.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Calls body(item, thread) once for every item of [0, items), thread in [0, threads()), and
  // returns when all calls have returned. REQUIRES: items < 2^31; body does not throw or call Run.
  void Run(int64_t items, Body body);

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

 private:
  void Work(int thread);
  // Claims and runs items of the current loop until none is left.
  void RunItems(int thread);

  // High half: number of the loop. Low half: items not yet claimed. A claim is a decrement by
  // compare-exchange, so a thread that slept through a loop cannot take an item of it.
  std::atomic<uint64_t> ticket_{0};
  std::atomic<int32_t> unfinished_{0};  // items not yet returned
  std::atomic<int32_t> wake_{0};        // changes with every loop; idle threads sleep on it
  std::atomic<bool> stop_{false};
  const Body* body_ = nullptr;  // read only with a claimed item
  int64_t items_ = 0;           // read only with a claimed item
  std::vector<std::thread> workers_;
};

}  // namespace headgate
