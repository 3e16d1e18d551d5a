#include "cli/supervised_unit.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "cli/exit_code.h"

namespace headgate {

SupervisedUnit::SupervisedUnit(UnitSpec spec) : spec_(std::move(spec)) {}

bool SupervisedUnit::ready() const {
  for (const Process& process : processes_) {
    if (process.beat.ready == 0) return false;
  }
  return running();
}

absl::Status SupervisedUnit::Start(absl::Time now) {
  started_at_ = now;
  for (const ProcessSpec& process : spec_.processes) {
    if (absl::Status status = StartOne(process, now); !status.ok()) {
      Kill();
      return status;
    }
  }
  return absl::OkStatus();
}

absl::Status SupervisedUnit::StartOne(const ProcessSpec& process, absl::Time now) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "pipe");
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  std::vector<std::string> argv = process.argv;
  argv.push_back(absl::StrCat("--status-fd=", ends[1]));
  absl::StatusOr<ChildProcess> child = ChildProcess::Spawn(argv, ends[1]);
  close(ends[1]);
  if (!child.ok()) {
    close(ends[0]);
    return child.status();
  }
  processes_.push_back({*std::move(child), ends[0], StatusBeat{}, "", now});
  return absl::OkStatus();
}

void SupervisedUnit::Kill() {
  for (const Process& process : processes_) process.child.Signal(SIGKILL);
  CloseAll();  // ~ChildProcess reaps
}

void SupervisedUnit::CloseAll() {
  for (const Process& process : processes_) close(process.status_fd);
  processes_.clear();
}

void SupervisedUnit::AskToStop() {
  for (const Process& process : processes_) process.child.Signal(SIGTERM);
}

bool SupervisedUnit::TryFinish() {
  bool all_gone = true;
  for (Process& process : processes_) {
    process.child.TryReap();
    if (process.child.running()) all_gone = false;
  }
  if (all_gone) CloseAll();
  return all_gone;
}

std::vector<int> SupervisedUnit::Descriptors() const {
  std::vector<int> descriptors;
  for (const Process& process : processes_) {
    if (process.child.running()) descriptors.push_back(process.child.pidfd());
    descriptors.push_back(process.status_fd);
  }
  return descriptors;
}

void SupervisedUnit::ReadBeats(Process& process, absl::Time now) {
  StatusBeat beat;
  while (read(process.status_fd, &beat, sizeof beat) == sizeof beat) {
    process.beat_at = now;
    if (beat.cause[0] == 0) {
      process.beat = beat;
    } else {
      process.cause.assign(beat.cause, strnlen(beat.cause, sizeof beat.cause));
    }
  }
}

std::optional<UnitFailure> SupervisedUnit::Check(absl::Time now, absl::Duration watchdog_limit) {
  for (size_t i = 0; i < processes_.size(); ++i) {
    Process& process = processes_[i];
    const std::string& name = spec_.processes[i].name;
    const std::optional<ChildExit> exit = process.child.TryReap();
    ReadBeats(process, now);  // after the look at its end: nothing is written later
    if (exit.has_value()) {
      const bool bad_use = exit->signal == 0 && exit->code == kExitBadUse;
      const std::string cause = process.cause.empty() ? exit->ToString() : process.cause;
      const bool names_itself = absl::StartsWith(cause, absl::StrCat(name, ": "));
      return UnitFailure{names_itself ? cause : absl::StrCat(name, ": ", cause),
                         bad_use && process.beat.ready == 0};
    }
    const absl::Duration silence = now - process.beat_at;
    if (silence > watchdog_limit) {
      return UnitFailure{
          absl::StrCat(name, ": no sign of life for ", absl::FormatDuration(silence))};
    }
    const absl::Duration step_age = absl::Milliseconds(process.beat.busy_ms) + silence;
    if (process.beat.busy_ms > 0 && step_age > watchdog_limit) {
      return UnitFailure{absl::StrCat(name, ": a step runs for ", absl::FormatDuration(step_age))};
    }
  }
  return std::nullopt;
}

}  // namespace headgate
