// A pool for a quarter of what runs (reliability bar K3): everything ends, nobody is preempted more
// than the bound, and most of what is computed is of use.
#include <gtest/gtest.h>

#include <deque>
#include <map>

#include "tests/unit/scheduler/scripted_group.h"

namespace headgate {
namespace {

TEST(OversubscriptionTest, FourTimesThePoolWastesLessThanThirtyPercent) {
  constexpr int64_t kRunning = 32;
  constexpr int64_t kPrompt = 32;
  constexpr int64_t kOutput = 96;
  SchedulerConfig config;
  config.running_limit = kRunning;
  config.step_tokens = 256;
  const GroupShape shape =
      SmallShape(static_cast<uint32_t>(kRunning * (kPrompt + kOutput) / 4 / 4));
  Scheduler scheduler(config);
  ScriptedGroup group(shape);
  absl::Time now = absl::UnixEpoch();
  ASSERT_TRUE(scheduler.GroupUp(0, shape, now).ok());
  constexpr RequestId kRequests = 300;
  for (RequestId id = 1; id <= kRequests; ++id) {
    scheduler.SubmitRequest(SmallRequest(id, kPrompt, kOutput), now);
  }
  std::deque<StepPlan> plans;
  int64_t computed = 0;
  uint64_t finished = 0;
  int64_t idle_steps = 0;
  for (int64_t step = 0; finished < kRequests && step < 100'000; ++step) {
    Actions actions = scheduler.RunOnce(now);
    for (GroupPlan& plan : actions.plans) plans.push_back(std::move(plan.plan));
    for (const TokenEvent& event : actions.events) {
      finished += event.finish == FinishReason::kLength ? 1 : 0;
    }
    if (plans.empty()) break;
    int64_t tokens = 0;
    for (const Chunk& chunk : plans.front().chunks) tokens += chunk.length();
    computed += tokens;
    idle_steps = tokens == 0 ? idle_steps + 1 : 0;
    ASSERT_LE(idle_steps, 4) << "nothing is computed";
    now += absl::Milliseconds(10);
    scheduler.StepDone(0, group.Run(plans.front()), now);
    plans.pop_front();
    ASSERT_TRUE(scheduler.CheckIntegrity().ok()) << scheduler.CheckIntegrity();
  }
  EXPECT_EQ(finished, kRequests);
  const int64_t useful = static_cast<int64_t>(kRequests) * (kPrompt + kOutput - 1);
  EXPECT_GE(useful * 100, computed * 70) << useful << " of " << computed;
  EXPECT_GT(scheduler.Stats().preemptions, 0u);
  RecordProperty("useful_percent", static_cast<int>(useful * 100 / computed));
  RecordProperty("preemptions", static_cast<int>(scheduler.Stats().preemptions));
}

}  // namespace
}  // namespace headgate
