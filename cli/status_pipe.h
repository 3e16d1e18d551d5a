// The pipe on which a role tells its supervisor how it is: one fixed-size record per beat. The
// supervisor needs no more than this to see a stopped process or a step that never ends.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace headgate {

// Written whole (smaller than PIPE_BUF), so a reader never sees half a record.
struct StatusBeat {
  uint64_t steps = 0;    // steps done
  uint64_t busy_ms = 0;  // age of the step that runs now; 0 = idle
  uint8_t ready = 0;     // 1 = serves
  char cause[495] = {};  // why the process ends now, NUL-terminated; empty: it goes on
};

// Writes a last beat that says why this process ends; false when nobody can read it (fd < 0, a full
// pipe), so that the caller must say it.
bool TellCause(int fd, const absl::Status& status);

// Calls `read` every `period` and writes its beat to `fd`, on a thread of its own, until destroyed.
// A full pipe drops the beat. fd < 0: does nothing.
class StatusWriter {
 public:
  StatusWriter(int fd, absl::Duration period, std::function<StatusBeat()> read);
  ~StatusWriter();
  StatusWriter(const StatusWriter&) = delete;
  StatusWriter& operator=(const StatusWriter&) = delete;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace headgate
