// Shared by the scheduler's tests: one group, driven by hand. Plans queue up until the test
// finishes them; events are kept by request.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "scheduler/scheduler.h"
#include "tests/unit/scheduler/scripted_group.h"

namespace headgate {

class SchedulerTest : public ::testing::Test {
 protected:
  void Start(uint32_t pages, SchedulerConfig config = {}, int ranks = 1) {
    shape_ = SmallShape(pages, 1, ranks);
    scheduler_ = std::make_unique<Scheduler>(config);
    group_ = std::make_unique<ScriptedGroup>(shape_);
    ASSERT_TRUE(scheduler_->GroupUp(0, shape_, now_).ok());
  }

  // RunOnce; keeps plans and events.
  void Run() {
    Actions actions = scheduler_->RunOnce(now_);
    for (GroupPlan& plan : actions.plans) plans_.push_back(std::move(plan.plan));
    for (TokenEvent& event : actions.events) events_[event.request].push_back(std::move(event));
    ASSERT_TRUE(scheduler_->CheckIntegrity().ok()) << scheduler_->CheckIntegrity();
  }

  void Finish() {
    ASSERT_FALSE(plans_.empty());
    const std::vector<StepResult> results = group_->Run(plans_.front());
    plans_.pop_front();
    now_ += absl::Milliseconds(10);
    scheduler_->StepDone(0, results, now_);
  }

  void RunToEnd() {
    Run();
    for (int i = 0; i < 1000 && !plans_.empty(); ++i) {
      Finish();
      Run();
    }
    ASSERT_TRUE(plans_.empty());
  }

  std::vector<TokenId> Tokens(RequestId id) {
    std::vector<TokenId> tokens;
    for (const TokenEvent& event : events_[id]) {
      if (!event.has_token) continue;
      EXPECT_EQ(event.token_index, static_cast<int64_t>(tokens.size()));
      tokens.push_back(event.token);
    }
    return tokens;
  }

  FinishReason Finished(RequestId id) {
    return events_[id].empty() ? FinishReason::kNone : events_[id].back().finish;
  }
  absl::Status Error(RequestId id) {
    return events_[id].empty() ? absl::OkStatus() : events_[id].back().status;
  }

  absl::Time now_ = absl::UnixEpoch();
  GroupShape shape_;
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<ScriptedGroup> group_;
  std::deque<StepPlan> plans_;
  std::map<RequestId, std::vector<TokenEvent>> events_;
};

}  // namespace headgate
