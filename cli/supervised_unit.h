// The processes of one unit: started together, read, and killed together. Used by Supervisor only;
// not thread safe.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "cli/child_process.h"
#include "cli/status_pipe.h"
#include "cli/supervisor.h"

namespace headgate {

// Why a unit must be relaunched.
struct UnitFailure {
  std::string why;       // "worker 0.1: killed by signal 9 (Killed)"
  bool bad_use = false;  // ended with kExitBadUse before it was ready: relaunching cannot help
};

class SupervisedUnit {
 public:
  explicit SupervisedUnit(UnitSpec spec);

  const std::string& name() const { return spec_.name; }
  bool running() const { return !processes_.empty(); }
  bool ready() const;  // every process has reported ready since the last Start
  absl::Time started_at() const { return started_at_; }

  absl::Status Start(absl::Time now);
  // SIGKILL to all, and waits for them: a killed process is gone in no time.
  void Kill();
  // SIGTERM to all; nothing waits.
  void AskToStop();
  // Reaps what has ended; true when nothing runs any more.
  bool TryFinish();

  // Descriptors to poll: pidfds and status pipes.
  std::vector<int> Descriptors() const;
  // Reads what the processes said; the first failure found, if any.
  std::optional<UnitFailure> Check(absl::Time now, absl::Duration watchdog_limit);

 private:
  struct Process {
    ChildProcess child;
    int status_fd = -1;
    StatusBeat beat;
    std::string cause;  // what it said when it ended
    absl::Time beat_at;
  };
  absl::Status StartOne(const ProcessSpec& process, absl::Time now);
  void CloseAll();
  static void ReadBeats(Process& process, absl::Time now);

  UnitSpec spec_;
  std::vector<Process> processes_;  // parallel to spec_.processes while running
  absl::Time started_at_;
};

}  // namespace headgate
