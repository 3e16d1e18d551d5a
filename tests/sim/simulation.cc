#include "tests/sim/simulation.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/sim/token_oracle.h"

namespace headgate::sim {
namespace {

constexpr int64_t kNoTick = INT64_MAX;
constexpr int64_t kBatchMicros = 2'000;  // RunOnce may wait so long for the next event
constexpr int64_t kEventsMax = 2'000'000;

}  // namespace

Simulation::Simulation(SimConfig config)
    : config_(std::move(config)),
      random_(config_.seed),
      scheduler_(config_.scheduler),
      book_(config_.groups[0].vocab),
      tick_us_(kNoTick),
      arrivals_left_(config_.requests) {
  for (size_t i = 0; i < config_.groups.size(); ++i) {
    GroupLife& group = groups_.emplace_back(config_);
    group.shape = config_.groups[i];
    events_.Push(random_.Between(0, 20'000), EventKind::kUp, static_cast<int>(i), group.life);
  }
  events_.Push(0, EventKind::kArrive);
  events_.Push(random_.Between(100'000, 10'000'000), EventKind::kFaultsStop);
}

SimReport Simulation::Run() {
  for (int64_t i = 0; i < kEventsMax && report_.status.ok() && !events_.empty(); ++i) {
    const Event event = events_.Pop();
    now_us_ = event.time_us;
    Handle(event);
    const bool wait = !events_.empty() && events_.next_us() <= now_us_ + kBatchMicros &&
                      random_.Chance(config_.batched_calls);
    if (!wait) Settle();
    if (book_.live().empty() && arrivals_left_ == 0 && faults_stopped_) {
      bool idle = true;
      for (const GroupLife& group : groups_) idle &= group.model.empty();
      if (idle) break;
    }
    if (liveness_until_us_ >= 0 && now_us_ > liveness_until_us_) break;
  }
  if (report_.status.ok()) CheckLiveness();
  report_.failed_at_us = now_us_;
  report_.marks = scheduler_.Marks();
  report_.useful_tokens = scheduler_.Stats().generated_tokens;
  return report_;
}

void Simulation::Handle(const Event& event) {
  switch (event.kind) {
    case EventKind::kArrive:
      return Arrive();
    case EventKind::kCancel:
      return ForgetClient(event.id);
    case EventKind::kReplay:
      return ReplayClient(event.id);
    case EventKind::kStepDone:
      return StepDone(event.group, event.id);
    case EventKind::kLateResult:
      return LateResult(event.id);
    case EventKind::kDown:
      scheduler_.GroupDown(event.group, Now());
      groups_[static_cast<size_t>(event.group)].told_up = false;
      return;
    case EventKind::kUp:
      if (groups_[static_cast<size_t>(event.group)].life == event.id) Up(event.group);
      return;
    case EventKind::kTick:
      if (now_us_ >= tick_us_) tick_us_ = kNoTick;
      return;
    case EventKind::kFaultsStop:
      return StopFaults();
  }
}

void Simulation::Settle() {
  Actions actions = scheduler_.RunOnce(Now());
  for (const TokenEvent& event : actions.events) {
    TraceEvent(event);
    Check(book_.OnEvent(event, Now(), longest_refusing_, config_.scheduler.waiting_limit));
  }
  for (const RequestId id : must_fail_) {
    if (book_.client(id).live) {
      Check(absl::InternalError(absl::StrCat("request ", id, ": survives nonsense about it")));
    }
  }
  must_fail_.clear();
  for (GroupPlan& plan : actions.plans) {
    TracePlan(plan);
    ++report_.steps;
    SendPlan(std::move(plan));
  }
  longest_refusing_ = longest_known_;
  Check(book_.CheckLive(Now(), longest_known_));
  Check(scheduler_.CheckIntegrity());
  const absl::Time deadline = scheduler_.NextDeadline();
  if (deadline == absl::InfiniteFuture()) return;
  const int64_t due_us = absl::ToUnixMicros(deadline + absl::Microseconds(1));
  if (due_us >= tick_us_) return;
  tick_us_ = due_us;
  events_.Push(due_us, EventKind::kTick);
}

// Faults have stopped for good: whatever a living group can serve must have ended, and ended
// requests must have given back all they held.
void Simulation::CheckLiveness() {
  if (liveness_until_us_ < 0) return;
  int64_t longest = 0;
  for (const GroupLife& group : groups_) {
    if (!group.gone_for_good) longest = std::max(longest, group.longest);
  }
  int64_t excused = 0;
  for (const RequestId id : book_.live()) {
    const Client& client = book_.client(id);
    if (client.tokens_max() > longest) {
      ++excused;  // only a group that is gone could
      continue;
    }
    return Check(absl::InternalError(
        absl::StrCat("liveness: request ", id, " (", client.tokens_max(), " tokens at most, ",
                     client.received.size(), " received) does not end")));
  }
  const SchedulerStats stats = scheduler_.Stats();
  if (stats.requests_running != 0 || stats.requests_waiting != static_cast<uint64_t>(excused)) {
    return Check(
        absl::InternalError(absl::StrCat("liveness: ", stats.requests_running, " requests run, ",
                                         stats.requests_waiting, " wait, at the end")));
  }
  for (const GroupLife& group : groups_) {
    if (!group.model.empty()) {
      return Check(absl::InternalError("liveness: a group holds pages at the end"));
    }
  }
  for (const RankStats& rank : stats.ranks) {
    if (rank.ledger_held + rank.ledger_reserved != 0) {
      return Check(absl::InternalError("liveness: the ledger charges pages at the end"));
    }
  }
}

void Simulation::Check(absl::Status status) {
  if (report_.status.ok() && !status.ok()) report_.status = std::move(status);
}

void Simulation::Trace(uint64_t value) { report_.trace = Mix(report_.trace, value); }

void Simulation::TraceEvent(const TokenEvent& event) {
  Trace(static_cast<uint64_t>(now_us_));
  Trace(event.request);
  Trace(static_cast<uint64_t>(event.has_token ? event.token_index * 1'000'000 + event.token : -1));
  Trace(static_cast<uint64_t>(event.finish) * 100 + static_cast<uint64_t>(event.status.code()));
  Trace(static_cast<uint64_t>(absl::ToInt64Nanoseconds(event.retry_after)));
}

void Simulation::TracePlan(const GroupPlan& plan) {
  Trace(static_cast<uint64_t>(plan.group));
  Trace(plan.plan.epoch);
  Trace(plan.plan.step);
  for (const SequenceId id : plan.plan.releases) Trace(id);
  for (const Chunk& chunk : plan.plan.chunks) {
    Trace(chunk.sequence);
    Trace(static_cast<uint64_t>(chunk.position * 4 + (chunk.sample ? 1 : 0)));
    Trace(static_cast<uint64_t>(chunk.length()));
  }
}

}  // namespace headgate::sim
