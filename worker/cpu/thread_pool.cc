// See thread_pool.h for who may call what.
#include "worker/cpu/thread_pool.h"

#include <chrono>

#include "base/check.h"

namespace headgate {
namespace {

// Longer than the gap between two operations of a step, far shorter than a scheduler's time slice.
constexpr auto kSpin = std::chrono::microseconds(20);

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Spins until `done` or for kSpin. Returns whether done.
template <typename Done>
bool SpinUntil(Done done) {
  const auto end = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 16; ++i) {
      if (done()) return true;
      Pause();
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

constexpr uint64_t kLoop = uint64_t{1} << 32;
constexpr uint64_t kUnclaimed = kLoop - 1;

}  // namespace

ThreadPool::ThreadPool(int threads) {
  CHECK_GE(threads, 1) << "thread pool";
  workers_.reserve(static_cast<size_t>(threads - 1));
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { Work(i); });
}

ThreadPool::~ThreadPool() {
  stop_.store(true, std::memory_order_release);
  wake_.fetch_add(1, std::memory_order_release);
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::RunItems(int thread) {
  uint64_t ticket = ticket_.load(std::memory_order_acquire);
  while ((ticket & kUnclaimed) != 0) {
    if (!ticket_.compare_exchange_weak(ticket, ticket - 1, std::memory_order_acq_rel,
                                       std::memory_order_acquire)) {
      continue;
    }
    (*body_)(items_ - static_cast<int64_t>(ticket & kUnclaimed), thread);
    if (unfinished_.fetch_sub(1, std::memory_order_acq_rel) == 1) unfinished_.notify_one();
    ticket = ticket_.load(std::memory_order_acquire);
  }
}

void ThreadPool::Run(int64_t items, Body body) {
  if (items <= 0) return;
  if (items == 1 || workers_.empty()) {
    for (int64_t i = 0; i < items; ++i) body(i, 0);
    return;
  }
  CHECK_LT(items, int64_t{1} << 31) << "thread pool";
  body_ = &body;
  items_ = items;
  unfinished_.store(static_cast<int32_t>(items), std::memory_order_relaxed);
  const uint64_t loop = (ticket_.load(std::memory_order_relaxed) & ~kUnclaimed) + kLoop;
  ticket_.store(loop | static_cast<uint64_t>(items), std::memory_order_release);
  wake_.fetch_add(1, std::memory_order_release);
  wake_.notify_all();
  RunItems(0);
  while (!SpinUntil([this] { return unfinished_.load(std::memory_order_acquire) == 0; })) {
    const int32_t left = unfinished_.load(std::memory_order_acquire);
    if (left != 0) unfinished_.wait(left, std::memory_order_acquire);
  }
}

void ThreadPool::Work(int thread) {
  while (true) {
    RunItems(thread);
    const int32_t seen = wake_.load(std::memory_order_acquire);
    // A loop published before `seen` was read is visible now; a later one changes wake_.
    if ((ticket_.load(std::memory_order_acquire) & kUnclaimed) != 0) continue;
    if (stop_.load(std::memory_order_acquire)) return;
    const bool changed =
        SpinUntil([this, seen] { return wake_.load(std::memory_order_acquire) != seen; });
    if (!changed) wake_.wait(seen, std::memory_order_acquire);
  }
}

}  // namespace headgate
