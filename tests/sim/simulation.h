// One run: the real scheduler, modelled groups, clients and faults, in virtual time. A run is a
// function of its SimConfig alone.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "scheduler/scheduler.h"
#include "tests/sim/client_book.h"
#include "tests/sim/event_heap.h"
#include "tests/sim/model_group.h"
#include "tests/sim/random.h"
#include "tests/sim/sim_config.h"

namespace headgate::sim {

struct SimReport {
  absl::Status status;  // INTERNAL: the first thing that was wrong
  int64_t failed_at_us = 0;
  uint64_t steps = 0;  // plans that the scheduler made
  uint64_t trace = 0;  // hash of every plan and event; equal for equal seeds
  SchedulerMarks marks;
  uint64_t useful_tokens = 0;
};

class Simulation {
 public:
  explicit Simulation(SimConfig config);
  SimReport Run();

 private:
  struct KeptResult {
    int group = 0;
    std::vector<StepResult> by_rank;
  };

  absl::Time Now() const { return absl::FromUnixMicros(now_us_); }
  bool FaultsOn() const { return !faults_stopped_; }
  void Handle(const Event& event);
  void Settle();  // RunOnce, and everything that must hold after it

  // clients (sim_clients.cc)
  void Arrive();
  Request DrawRequest(bool& invalid);
  void SubmitClient(Request request, absl::Time deadline, bool invalid);
  void ForgetClient(RequestId id);
  void ReplayClient(RequestId id);

  // groups (sim_groups.cc)
  void SendPlan(GroupPlan plan);
  void StepDone(int group, uint64_t life);
  void Schedule(int group);
  void Die(int group);
  void Up(int group);
  void LateResult(uint64_t index);
  void StopFaults();
  int64_t StepMicros(const ModelGroup& group);

  void Check(absl::Status status);
  void Trace(uint64_t value);
  void TraceEvent(const TokenEvent& event);
  void TracePlan(const GroupPlan& plan);
  void CheckLiveness();

  const SimConfig config_;
  Random random_;
  Scheduler scheduler_;
  ClientBook book_;
  EventHeap events_;
  int64_t now_us_ = 0;
  int64_t tick_us_;
  bool faults_stopped_ = false;
  int64_t liveness_until_us_ = -1;  // set when faults stop in liveness mode
  int64_t arrivals_left_;
  int64_t longest_known_ = -1;     // over shapes that the scheduler was told
  int64_t longest_refusing_ = -1;  // least value since the last RunOnce: what refusals went by

  struct GroupLife {
    explicit GroupLife(const SimConfig& config) : model(config) {}
    ModelGroup model;
    GroupShape shape;      // of the next or current life
    uint64_t life = 0;     // counts deaths and births: older events are void
    int64_t longest = -1;  // as last told to the scheduler
    bool told_up = false;
    bool running_step = false;
    bool gone_for_good = false;
  };
  std::deque<GroupLife> groups_;
  std::deque<KeptResult> kept_;
  std::vector<RequestId> must_fail_;  // a worker lied about them: gone after the next RunOnce
  SimReport report_;
};

}  // namespace headgate::sim
