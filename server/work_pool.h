// A few threads for work that must not run on gRPC's threads (tokenizing), behind a bounded queue.
// Thread safe.
#pragma once

#include <functional>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "base/bounded_queue.h"
#include "base/stats.h"

namespace headgate {

class WorkPool final {
 public:
  WorkPool(int threads, size_t queue_limit);
  // Finishes what is queued.
  ~WorkPool();

  // RESOURCE_EXHAUSTED when the queue is full.
  absl::Status Run(std::function<void()> work);

  QueueStats Stats() const { return {"tokenize", queue_.size(), queue_.limit()}; }

 private:
  BoundedQueue<std::function<void()>> queue_;
  std::vector<std::thread> threads_;
};

}  // namespace headgate
