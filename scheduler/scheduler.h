// Continuous batching as a deterministic state machine: events in, plans and token events out. No
// threads, no clock, no I/O: the same object runs behind gRPC, in the simulator and in the planner.
//
//   SubmitRequest / Cancel / GroupUp / GroupDown / StepDone   (events; each takes `now`)
//   RunOnce(now) -> Actions                                    (drain deadlines, admit, plan)
//
// Not thread safe: one thread owns it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/group_shape.h"
#include "base/request.h"
#include "base/stats.h"
#include "base/step.h"
#include "scheduler/admission_limits.h"
#include "scheduler/marks.h"

namespace headgate {

struct SchedulerConfig {
  int groups = 1;
  int64_t waiting_limit = 10'000;       // requests; beyond it RESOURCE_EXHAUSTED
  int64_t running_limit = 256;          // sequences per group, if its ranks can hold as many
  int64_t step_tokens = 512;            // token budget of one step: decodes first, then chunks
  int64_t chunk_tokens = 512;           // most tokens of one sequence in one step
  int64_t prompt_tokens_max = 1 << 20;  // beyond it INVALID_ARGUMENT
  int64_t steps_in_flight = 2;          // per group: Submit(n+1) goes out before Await(n)
  absl::Duration deadline_max = absl::Hours(1);
  AdmissionLimits admission;
};

// A plan for every rank of one group.
struct GroupPlan {
  int group = 0;
  StepPlan plan;
};

struct Actions {
  std::vector<GroupPlan> plans;
  std::vector<TokenEvent> events;
};

class Scheduler {
 public:
  explicit Scheduler(SchedulerConfig config);
  ~Scheduler();

  // A refusal (queue full, never fits, bad field) is a TokenEvent of the next RunOnce, as any end
  // is. REQUIRES: request.id is not live.
  void SubmitRequest(Request request, absl::Time now);
  // The client is gone; unknown ids are ignored. No event follows for this request.
  void Cancel(RequestId request);

  // The group serves `shape.epoch` from now on, with empty pools. INVALID_ARGUMENT for a shape that
  // makes no sense, FAILED_PRECONDITION for an epoch that is not newer: counted, and nothing
  // changes. Waiting requests that can no longer run anywhere end with INVALID_ARGUMENT.
  absl::Status GroupUp(int group, const GroupShape& shape, absl::Time now);
  // The group's epoch ended: its sequences go back to the queue and are replayed elsewhere or
  // later.
  void GroupDown(int group, absl::Time now);
  // One result per rank. Results of another epoch or step order are ignored and counted.
  void StepDone(int group, std::span<const StepResult> by_rank, absl::Time now);

  Actions RunOnce(absl::Time now);

  // When RunOnce should be called again if nothing happens (next deadline); InfiniteFuture if
  // never.
  absl::Time NextDeadline() const;
  SchedulerStats Stats() const;
  // Visits of the rare branches, for the simulator's coverage.
  const SchedulerMarks& Marks() const;
  // Recounts everything; INTERNAL names the first broken invariant. O(everything).
  absl::Status CheckIntegrity() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace headgate
