// SIGTERM and SIGINT, which are read in order and never handled: they are blocked in every thread.
#pragma once

#include <signal.h>

namespace headgate {

// Blocks them for this thread and all that it starts later; call it first.
void BlockStopSignals();
// Waits for one of them.
void WaitForStopSignal();

// Blocks them while it lives; at its end they do again what they did before.
class StopSignals final {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  int fd() const { return fd_; }  // readable when one has arrived
  bool Take() const;              // one that has arrived; does not wait

 private:
  sigset_t before_;
  int fd_ = -1;
};

}  // namespace headgate
