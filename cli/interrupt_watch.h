// Turns SIGINT and SIGTERM into a call, on a thread of its own, while it lives.
#pragma once

#include <functional>
#include <thread>

#include "cli/stop_signals.h"

namespace headgate {

class InterruptWatch final {
 public:
  // Make it before other threads start: they inherit the blocked signals.
  explicit InterruptWatch(std::function<void()> on_interrupt);
  // Signals do again what they did before.
  ~InterruptWatch();

 private:
  std::function<void()> on_interrupt_;
  const StopSignals signals_;
  int stop_fd_ = -1;
  std::thread thread_;
};

}  // namespace headgate
