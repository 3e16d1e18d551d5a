#include "scheduler/scheduler.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "scheduler/scheduler_state.h"

namespace headgate {

// The loop. Pages first for what runs, then for what waits, then the plans.
Actions Scheduler::RunOnce(absl::Time now) {
  State& s = *state_;
  s.ExpireDeadlines(now);
  // A round plans at most one step per group; steps_in_flight bounds the rounds.
  for (bool planned = true; planned && s.AnyCanPlan();) {
    for (Group& group : s.groups) {
      if (s.CanPlan(group)) s.ReserveRunning(group);
    }
    s.AdmitWaiting();
    planned = false;
    for (Group& group : s.groups) {
      if (s.CanPlan(group)) planned |= s.PlanStep(group);
    }
  }
  s.CheckProgress();
  return std::exchange(s.actions, {});
}

Scheduler::State::State(SchedulerConfig scheduler_config)
    : config(scheduler_config), groups(static_cast<size_t>(std::max(1, config.groups))) {
  CHECK(config.groups >= 1 && config.waiting_limit >= 1 && config.running_limit >= 1 &&
        config.step_tokens >= 1 && config.chunk_tokens >= 1 && config.steps_in_flight >= 1 &&
        config.prompt_tokens_max >= 1 && config.deadline_max > absl::ZeroDuration() &&
        config.admission.preemptions_max >= 1 && config.admission.growth_parts >= 0)
      << "scheduler config: a limit is out of range";
  for (size_t i = 0; i < groups.size(); ++i) groups[i].index = static_cast<int>(i);
  stats.step_seconds_decode = Histogram({0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5});
  stats.step_seconds_mixed = stats.step_seconds_decode;
}

Group& Scheduler::State::group_at(int index) {
  CHECK(0 <= index && index < config.groups) << "group " << index << " of " << config.groups;
  return groups[static_cast<size_t>(index)];
}

Scheduler::Scheduler(SchedulerConfig config) : state_(std::make_unique<State>(config)) {}
Scheduler::~Scheduler() = default;

void Scheduler::SubmitRequest(Request request, absl::Time now) {
  state_->Submit(std::move(request), now);
}

void Scheduler::Cancel(RequestId request) { state_->Cancel(request); }

absl::Status Scheduler::GroupUp(int group, const GroupShape& shape, absl::Time now) {
  return state_->GroupUp(state_->group_at(group), shape, now);
}

void Scheduler::GroupDown(int group, absl::Time /*now*/) {
  state_->GroupDown(state_->group_at(group));
}

void Scheduler::StepDone(int group, std::span<const StepResult> by_rank, absl::Time now) {
  Group& at = state_->group_at(group);
  if (!state_->Expected(at, by_rank)) {
    ++state_->stats.stale_messages;
    return;
  }
  state_->Apply(at, by_rank, now);
}

absl::Time Scheduler::NextDeadline() const { return state_->requests.FirstDeadline(); }
SchedulerStats Scheduler::Stats() const { return state_->Stats(); }
const SchedulerMarks& Scheduler::Marks() const { return state_->marks; }
absl::Status Scheduler::CheckIntegrity() const { return state_->CheckIntegrity(); }

}  // namespace headgate
