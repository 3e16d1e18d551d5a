// Starts the roles of one machine, watches them and relaunches what dies. A unit is a set of
// processes that live and die together: one worker group, the scheduler, the server.
//
// Seen at once: the end of any process (pidfd). Seen within watchdog_limit: a process that stopped
// beating (SIGSTOP, swap), or a step older than the limit. Then the whole unit is killed and
// relaunched. One thread; the one that calls Run.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace headgate {

struct ProcessSpec {
  std::string name;               // for the log: "worker 0.1"
  std::vector<std::string> argv;  // "--status-fd=N" is appended
};

struct UnitSpec {
  std::string name;
  std::vector<ProcessSpec> processes;
};

struct SupervisorOptions {
  absl::Duration watchdog_limit = absl::Seconds(10);  // also of a step's age
  absl::Duration backoff_max = absl::Seconds(2);      // between relaunches of a failing unit
  absl::Duration stop_limit = absl::Seconds(5);       // per unit, then SIGKILL
  int failures_max = 10;  // in a row of a unit that was never ready: give up
};

class Supervisor {
 public:
  // Units are started in this order and stopped in the reverse one.
  Supervisor(SupervisorOptions options, std::vector<UnitSpec> units);
  ~Supervisor();

  // Runs until SIGTERM or SIGINT (OK), until a process ends with kExitBadUse before it was ready
  // (INVALID_ARGUMENT; the process has said why), or until a unit failed too often (UNAVAILABLE).
  // Calls `on_ready` the first time that every process has reported ready. All children are gone
  // when it returns. A second signal skips the graceful stop.
  absl::Status Run(const std::function<void()>& on_ready);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace headgate
