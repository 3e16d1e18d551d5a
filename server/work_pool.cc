#include "server/work_pool.h"

#include <optional>
#include <utility>

namespace headgate {

WorkPool::WorkPool(int threads, size_t queue_limit) : queue_(queue_limit) {
  for (int i = 0; i < threads; ++i) {
    threads_.emplace_back([this] {
      while (true) {
        std::optional<std::function<void()>> work = queue_.Pop(absl::Hours(1));
        if (work.has_value()) {
          (*work)();
          continue;
        }
        if (queue_.closed()) return;
      }
    });
  }
}

WorkPool::~WorkPool() {
  queue_.Close();
  for (std::thread& thread : threads_) thread.join();
}

absl::Status WorkPool::Run(std::function<void()> work) { return queue_.TryPush(std::move(work)); }

}  // namespace headgate
