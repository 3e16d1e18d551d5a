// The scheduler's state and the steps of its loop, one .cc file per concern (internal to
// scheduler/):
//
//   intake.cc        requests in and out: submit, cancel, deadlines
//   group_life.cc    groups come and go
//   page_supply.cc   pages for running sequences (preemption) and for waiting requests (admission)
//   plan_commit.cc   drafts become plans in flight
//   step_results.cc  results become token events
//   integrity.cc     recounting and statistics
//
// The scheduler's thread owns it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "scheduler/batch_planner.h"
#include "scheduler/group.h"
#include "scheduler/marks.h"
#include "scheduler/request_table.h"
#include "scheduler/retry_after.h"
#include "scheduler/scheduler.h"
#include "scheduler/waiting_queue.h"

namespace headgate {

struct Scheduler::State {
  explicit State(SchedulerConfig scheduler_config);

  // intake.cc
  void Submit(Request request, absl::Time now);
  void Cancel(RequestId id);
  void ExpireDeadlines(absl::Time now);
  void Refuse(const Request& request, absl::Status status, absl::Duration retry_after);
  void End(LiveRequest& live, TokenEvent last, absl::Time now);  // frees what it holds; `live` dies
  void Complete(LiveRequest& live, absl::Time now);              // nothing (more) to sample
  void Fail(LiveRequest& live, absl::Status status, absl::Time now);

  // group_life.cc
  absl::Status GroupUp(Group& group, const GroupShape& shape, absl::Time now);
  void Retier(absl::Time now);
  void GroupDown(Group& group);

  // page_supply.cc
  bool CanPlan(const Group& group) const;
  bool AnyCanPlan() const;
  void ReserveRunning(Group& group);
  int64_t RunningMax(const Group& group) const;  // most sequences that it may run at once
  bool HasRoom(const Group& group, int64_t backlog) const;
  void AdmitWaiting();
  void Admit(LiveRequest& live, Group& group);
  void Preempt(Group& group, Sequence& sequence);
  void Vacate(Group& group, const Sequence& sequence);  // pages come back; `sequence` dies

  // plan_commit.cc
  bool PlanStep(Group& group);  // false when there is nothing to say

  // step_results.cc
  bool Expected(const Group& group, std::span<const StepResult> by_rank);
  void Apply(Group& group, std::span<const StepResult> by_rank, absl::Time now);
  void ApplyChunk(Group& group, const ChunkInFlight& chunk, size_t index,
                  std::span<const StepResult> by_rank, absl::Time now);
  void EmitToken(LiveRequest& live, const SequenceResult& result, absl::Time now);

  // integrity.cc
  void CheckProgress() const;
  absl::Status CheckGroup(const Group& group) const;
  absl::Status CheckIntegrity() const;
  SchedulerStats Stats() const;

  Group& group_at(int index);

  const SchedulerConfig config;
  RequestTable requests;
  WaitingQueue waiting;
  std::vector<Group> groups;
  Actions actions;  // what the next RunOnce returns
  RetryEstimate retry;
  uint64_t next_arrival = 1;
  SequenceId next_sequence = 1;
  SchedulerStats stats;  // counters; gauges are filled in by Stats()
  SchedulerMarks marks;
};

}  // namespace headgate
