#include "cli/supervisor.h"

#include <poll.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/status_macros.h"
#include "cli/stop_signals.h"
#include "cli/supervised_unit.h"

namespace headgate {
namespace {

constexpr absl::Duration kPollMax = absl::Milliseconds(100);
constexpr absl::Duration kFirstBackoff = absl::Milliseconds(100);

}  // namespace

struct Supervisor::State {
  struct Entry {
    SupervisedUnit unit;
    absl::Time relaunch_at = absl::InfinitePast();  // when not running
    bool was_ready = false;                         // ever
    int failures = 0;                               // in a row without becoming ready
  };

  SupervisorOptions options;
  std::vector<Entry> entries;
  bool all_ready_once = false;

  void Wait(const StopSignals& signals) const;
  absl::Status StartDue(absl::Time now);
  absl::Status CheckAll(absl::Time now);
  absl::Status Failed(Entry& entry, const UnitFailure& failure, absl::Time now);
  bool AllReady() const;
  void StopAll(const StopSignals& signals);
  void KillAll();
};

Supervisor::Supervisor(SupervisorOptions options, std::vector<UnitSpec> units)
    : state_(std::make_unique<State>()) {
  state_->options = options;
  for (UnitSpec& spec : units) state_->entries.push_back({SupervisedUnit(std::move(spec))});
}

Supervisor::~Supervisor() { state_->KillAll(); }

absl::Status Supervisor::Run(const std::function<void()>& on_ready) {
  const StopSignals signals;
  absl::Status status;
  while (status.ok()) {
    if (signals.Take()) {
      state_->StopAll(signals);
      return absl::OkStatus();
    }
    const absl::Time now = absl::Now();
    status = state_->StartDue(now);
    if (status.ok()) status = state_->CheckAll(now);
    if (status.ok() && !state_->all_ready_once && state_->AllReady()) {
      state_->all_ready_once = true;
      on_ready();
    }
    if (status.ok()) state_->Wait(signals);
  }
  state_->KillAll();
  return status;
}

// Sleeps until a child ends or speaks, a signal arrives, or kPollMax has passed.
void Supervisor::State::Wait(const StopSignals& signals) const {
  std::vector<pollfd> fds = {{signals.fd(), POLLIN, 0}};
  for (const Entry& entry : entries) {
    for (int fd : entry.unit.Descriptors()) fds.push_back({fd, POLLIN, 0});
  }
  poll(fds.data(), fds.size(), static_cast<int>(absl::ToInt64Milliseconds(kPollMax)));
}

absl::Status Supervisor::State::StartDue(absl::Time now) {
  for (Entry& entry : entries) {
    if (entry.unit.running() || now < entry.relaunch_at) continue;
    RETURN_IF_ERROR(entry.unit.Start(now));
  }
  return absl::OkStatus();
}

absl::Status Supervisor::State::CheckAll(absl::Time now) {
  for (Entry& entry : entries) {
    if (!entry.unit.running()) continue;
    if (std::optional<UnitFailure> failure = entry.unit.Check(now, options.watchdog_limit)) {
      RETURN_IF_ERROR(Failed(entry, *failure, now));
    } else if (entry.unit.ready()) {
      entry.failures = 0;
      entry.was_ready = true;
    }
  }
  return absl::OkStatus();
}

absl::Status Supervisor::State::Failed(Entry& entry, const UnitFailure& failure, absl::Time now) {
  entry.unit.Kill();
  if (failure.bad_use) return absl::InvalidArgumentError(failure.why);
  ++entry.failures;
  // A unit that has served is relaunched for ever: its trouble may pass. One that never did has a
  // cause that trying again does not mend.
  if (!entry.was_ready && entry.failures > options.failures_max) {
    return absl::UnavailableError(
        absl::StrCat(failure.why, "; gave up after ", entry.failures, " failures in a row"));
  }
  const absl::Duration backoff =
      std::min(options.backoff_max, kFirstBackoff * std::exp2(std::min(entry.failures - 1, 20)));
  entry.relaunch_at = now + backoff;
  spdlog::warn("{}; {} is relaunched in {}", failure.why, entry.unit.name(),
               absl::FormatDuration(backoff));
  return absl::OkStatus();
}

bool Supervisor::State::AllReady() const {
  return std::all_of(entries.begin(), entries.end(),
                     [](const Entry& entry) { return entry.unit.ready(); });
}

// In reverse order, so that the server stops taking requests before what serves them goes away.
void Supervisor::State::StopAll(const StopSignals& signals) {
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
    entry->unit.AskToStop();
    const absl::Time deadline = absl::Now() + options.stop_limit;
    while (!entry->unit.TryFinish()) {
      if (signals.Take() || absl::Now() > deadline) {
        spdlog::warn("{} did not stop in time and is killed", entry->unit.name());
        entry->unit.Kill();
        break;
      }
      absl::SleepFor(absl::Milliseconds(10));
    }
  }
}

void Supervisor::State::KillAll() {
  for (Entry& entry : entries) entry.unit.Kill();
}

}  // namespace headgate
