// A multi-producer, multi-consumer FIFO with a fixed limit. Thread safe.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace headgate {

template <typename T>
class BoundedQueue {
 public:
  explicit BoundedQueue(size_t limit) : limit_(limit) {}

  // RESOURCE_EXHAUSTED when full, CANCELLED after Close. On failure `item` is untouched.
  absl::Status TryPush(T&& item) {
    {
      std::lock_guard lock(mutex_);
      if (closed_) return absl::CancelledError("queue is closed");
      if (items_.size() >= limit_) return absl::ResourceExhaustedError("queue is full");
      items_.push_back(std::move(item));
    }
    nonempty_.notify_one();
    return absl::OkStatus();
  }

  // Waits up to `timeout`; nullopt on timeout, or when the queue is closed and empty.
  std::optional<T> Pop(absl::Duration timeout) {
    std::unique_lock lock(mutex_);
    nonempty_.wait_for(lock, absl::ToChronoMicroseconds(timeout),
                       [this] { return closed_ || !items_.empty(); });
    if (items_.empty()) return std::nullopt;
    T item = std::move(items_.front());
    items_.pop_front();
    return item;
  }

  void Close() {
    {
      std::lock_guard lock(mutex_);
      closed_ = true;
    }
    nonempty_.notify_all();
  }

  // Drops what waits. For a closed queue whose items own, by whatever path, the queue itself.
  void Clear() {
    std::deque<T> dropped;  // destroyed without the lock: an item may come back here
    std::lock_guard lock(mutex_);
    dropped.swap(items_);
  }

  bool closed() const {
    std::lock_guard lock(mutex_);
    return closed_;
  }
  size_t size() const {
    std::lock_guard lock(mutex_);
    return items_.size();
  }
  size_t limit() const { return limit_; }

 private:
  const size_t limit_;
  mutable std::mutex mutex_;
  std::condition_variable nonempty_;
  std::deque<T> items_;
  bool closed_ = false;
};

}  // namespace headgate
