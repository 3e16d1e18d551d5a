#include "scheduler/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "tests/unit/scheduler/scheduler_fixture.h"

namespace headgate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST_F(SchedulerTest, PlansTheNextStepBeforeTheFirstIsDone) {
  Start(16);
  scheduler_->SubmitRequest(SmallRequest(1, 3, 4), now_);
  Run();
  ASSERT_THAT(plans_, SizeIs(2));
  EXPECT_EQ(plans_[0].step, 1u);
  ASSERT_THAT(plans_[0].starts, SizeIs(1));
  EXPECT_EQ(plans_[0].starts[0].prompt_tokens, 3);
  EXPECT_EQ(plans_[0].starts[0].first_token_index, 0);
  EXPECT_THAT(plans_[0].chunks[0].tokens, ElementsAre(10, 11, 12));
  EXPECT_TRUE(plans_[0].chunks[0].sample);
  EXPECT_EQ(plans_[1].step, 2u);
  EXPECT_THAT(plans_[1].starts, IsEmpty());
  EXPECT_THAT(plans_[1].chunks[0].tokens, IsEmpty());
  EXPECT_EQ(plans_[1].chunks[0].position, 3);
}

TEST_F(SchedulerTest, AGroupHasItsPagesBeforeTheFirstStep) {
  Start(16, {}, /*ranks=*/2);
  const SchedulerStats stats = scheduler_->Stats();
  ASSERT_THAT(stats.ranks, SizeIs(2));
  EXPECT_EQ(stats.ranks[1].pages.total, 16u);
  EXPECT_EQ(stats.ranks[1].pages.free, 16u);
  EXPECT_EQ(stats.ranks[1].pages.page_bytes, shape_.ranks[1].page_bytes);
}

int64_t ComputingSteps(const SchedulerStats& stats) {
  int64_t steps = 0;
  for (const uint64_t count : stats.step_seconds_decode.counts) steps += count;
  for (const uint64_t count : stats.step_seconds_mixed.counts) steps += count;
  return steps;
}

TEST_F(SchedulerTest, StreamsAllTokensAndReleasesThePages) {
  Start(16);
  scheduler_->SubmitRequest(SmallRequest(1, 3, 4), now_);
  RunToEnd();
  EXPECT_THAT(Tokens(1), ElementsAre(100, 101, 102, 103));
  EXPECT_EQ(Finished(1), FinishReason::kLength);
  const SchedulerStats stats = scheduler_->Stats();
  EXPECT_EQ(stats.requests_running, 0u);
  EXPECT_EQ(stats.generated_tokens, 4u);
  EXPECT_EQ(stats.ranks[0].ledger_held, 0u);
  EXPECT_EQ(stats.ranks[0].ledger_reserved, 0u);
  EXPECT_GE(scheduler_->Marks()[Mark::kReleaseOnlyPlan], 1u);
  EXPECT_EQ(stats.step_times.dense, absl::Milliseconds(ComputingSteps(stats)));  // a release: none
}

TEST_F(SchedulerTest, NeverPlansBeyondMaxTokens) {
  Start(16);
  scheduler_->SubmitRequest(SmallRequest(1, 3, 1), now_);
  Run();
  EXPECT_THAT(plans_, SizeIs(1));
}

TEST_F(SchedulerTest, StopTokenMakesTheChunkInFlightSurplus) {
  Start(16);
  Request request = SmallRequest(1, 3, 10);
  request.stop_tokens = {101};
  scheduler_->SubmitRequest(request, now_);
  RunToEnd();
  EXPECT_THAT(Tokens(1), ElementsAre(100, 101));
  EXPECT_EQ(Finished(1), FinishReason::kStop);
  EXPECT_EQ(scheduler_->Marks()[Mark::kSurplusResult], 1u);
  EXPECT_EQ(scheduler_->Stats().stale_messages, 0u);
}

TEST_F(SchedulerTest, DecodesComeBeforePrefillChunksWithinTheBudget) {
  SchedulerConfig config;
  config.step_tokens = 8;
  config.chunk_tokens = 8;
  config.steps_in_flight = 1;
  Start(64, config);
  scheduler_->SubmitRequest(SmallRequest(1, 3, 4), now_);
  Run();
  scheduler_->SubmitRequest(SmallRequest(2, 10, 4), now_);
  Finish();
  Run();
  ASSERT_THAT(plans_, SizeIs(1));
  ASSERT_THAT(plans_[0].chunks, SizeIs(2));
  EXPECT_THAT(plans_[0].chunks[0].tokens, IsEmpty());
  EXPECT_THAT(plans_[0].chunks[1].tokens, SizeIs(7));
  EXPECT_FALSE(plans_[0].chunks[1].sample);
  Finish();
  Run();
  EXPECT_EQ(plans_[0].chunks[1].position, 7);
  EXPECT_THAT(plans_[0].chunks[1].tokens, SizeIs(3));
  EXPECT_TRUE(plans_[0].chunks[1].sample);
}

TEST_F(SchedulerTest, RefusesWhatCanNeverFitAndServesTheOthers) {
  Start(4);  // 16 tokens
  scheduler_->SubmitRequest(SmallRequest(1, 10, 7), now_);
  scheduler_->SubmitRequest(SmallRequest(2, 10, 6), now_);
  RunToEnd();
  EXPECT_EQ(Error(1).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(Error(1).message()), HasSubstr("10 + max_tokens 7 = 17"));
  EXPECT_THAT(std::string(Error(1).message()), HasSubstr("16"));
  EXPECT_EQ(Finished(2), FinishReason::kLength);
}

TEST_F(SchedulerTest, RequestsWaitForTheFirstGroupAndAreCheckedThen) {
  scheduler_ = std::make_unique<Scheduler>(SchedulerConfig{});
  scheduler_->SubmitRequest(SmallRequest(1, 10, 7), now_);
  scheduler_->SubmitRequest(SmallRequest(2, 3, 1), now_);
  Run();
  EXPECT_THAT(events_, IsEmpty());
  shape_ = SmallShape(4);
  group_ = std::make_unique<ScriptedGroup>(shape_);
  ASSERT_TRUE(scheduler_->GroupUp(0, shape_, now_).ok());
  RunToEnd();
  EXPECT_EQ(Error(1).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Finished(2), FinishReason::kLength);
}

TEST_F(SchedulerTest, RefusesBadFields) {
  Start(16);
  scheduler_->SubmitRequest(SmallRequest(1, 0, 1), now_);
  scheduler_->SubmitRequest(SmallRequest(2, 1, 0), now_);
  scheduler_->SubmitRequest(SmallRequest(3, 1, -1), now_);
  Request outside = SmallRequest(4, 2, 1);
  outside.prompt[1] = 1000;
  scheduler_->SubmitRequest(outside, now_);
  Request negative = SmallRequest(5, 2, 1);
  negative.prompt[0] = -1;
  scheduler_->SubmitRequest(negative, now_);
  Request emitted = SmallRequest(6, 2, 1);
  emitted.emitted = {1, 2};
  scheduler_->SubmitRequest(emitted, now_);
  Request huge = SmallRequest(7, 2, 1);
  huge.max_tokens = std::numeric_limits<int64_t>::max();
  scheduler_->SubmitRequest(huge, now_);
  RunToEnd();
  for (RequestId id = 1; id <= 7; ++id) {
    EXPECT_EQ(Error(id).code(), absl::StatusCode::kInvalidArgument) << id;
  }
  EXPECT_EQ(scheduler_->Stats().refused_invalid, 7u);
}

TEST_F(SchedulerTest, FullQueueRefusesWithARetryTime) {
  SchedulerConfig config;
  config.waiting_limit = 2;
  Start(16, config);
  for (RequestId id = 1; id <= 3; ++id) scheduler_->SubmitRequest(SmallRequest(id, 3, 2), now_);
  RunToEnd();
  EXPECT_EQ(Error(3).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_GE(events_[3].back().retry_after, absl::Milliseconds(100));
  EXPECT_LE(events_[3].back().retry_after, absl::Seconds(30));
  EXPECT_EQ(Finished(2), FinishReason::kLength);
}

TEST_F(SchedulerTest, PreemptsTheYoungestAndRepeatsNothing) {
  Start(5);  // 20 tokens: both prompts fit, both outputs do not
  scheduler_->SubmitRequest(SmallRequest(1, 4, 10), now_);
  scheduler_->SubmitRequest(SmallRequest(2, 4, 10), now_);
  RunToEnd();
  EXPECT_THAT(Tokens(1), SizeIs(10));
  EXPECT_THAT(Tokens(2), ElementsAre(100, 101, 102, 103, 104, 105, 106, 107, 108, 109));
  const SchedulerStats stats = scheduler_->Stats();
  EXPECT_GE(stats.preemptions, 1u);
  EXPECT_LE(stats.preemptions, 4u);
}

TEST_F(SchedulerTest, AResumedSequenceStartsWhereTheStreamStopped) {
  Start(5);
  scheduler_->SubmitRequest(SmallRequest(1, 4, 10), now_);
  scheduler_->SubmitRequest(SmallRequest(2, 4, 10), now_);
  Run();
  while (!plans_.empty()) {
    for (const SequenceStart& start : plans_.front().starts) {
      if (start.first_token_index == 0) continue;
      EXPECT_EQ(start.prompt_tokens, 4);
      for (const Chunk& chunk : plans_.front().chunks) {
        if (chunk.sequence != start.sequence) continue;
        EXPECT_EQ(static_cast<int64_t>(chunk.tokens.size()), 4 + start.first_token_index);
        EXPECT_EQ(chunk.tokens[4], kFirstToken);
        return;
      }
    }
    Finish();
    Run();
  }
  FAIL() << "nothing was resumed";
}

TEST_F(SchedulerTest, HigherPriorityGoesFirst) {
  SchedulerConfig config;
  config.running_limit = 1;
  Start(16, config);
  Request urgent = SmallRequest(2, 3, 1);
  urgent.priority = 1;
  scheduler_->SubmitRequest(SmallRequest(1, 3, 1), now_);
  scheduler_->SubmitRequest(urgent, now_);
  Run();
  EXPECT_THAT(plans_[0].chunks[0].tokens, ElementsAre(20, 21, 22));
}

TEST_F(SchedulerTest, LooksPastAHeadThatDoesNotFitNow) {
  Start(6);
  scheduler_->SubmitRequest(SmallRequest(1, 8, 4), now_);  // 3 pages
  Run();
  scheduler_->SubmitRequest(SmallRequest(2, 20, 4), now_);  // 6 pages: waits for 1
  scheduler_->SubmitRequest(SmallRequest(3, 4, 2), now_);   // 2 pages: passes
  RunToEnd();
  EXPECT_EQ(Finished(1), FinishReason::kLength);
  EXPECT_EQ(Finished(2), FinishReason::kLength);
  EXPECT_EQ(Finished(3), FinishReason::kLength);
  EXPECT_EQ(scheduler_->Marks()[Mark::kLookedPastHead], 1u);
}

TEST_F(SchedulerTest, ScoresThePromptAcrossChunks) {
  SchedulerConfig config;
  config.chunk_tokens = 2;
  Start(16, config);
  Request request = SmallRequest(1, 5, 0);
  request.score = true;
  scheduler_->SubmitRequest(request, now_);
  RunToEnd();
  ASSERT_THAT(events_[1], SizeIs(1));
  EXPECT_THAT(events_[1][0].prompt_logprobs, ElementsAre(-11, -12, -13, -14));
  EXPECT_THAT(events_[1][0].prompt_top, ElementsAre(12, 13, 14, 15));
  EXPECT_FALSE(events_[1][0].has_token);
  EXPECT_EQ(Finished(1), FinishReason::kLength);
}

TEST_F(SchedulerTest, RoutesToTheGroupWithMoreFreePages) {
  SchedulerConfig config;
  config.groups = 2;
  scheduler_ = std::make_unique<Scheduler>(config);
  ASSERT_TRUE(scheduler_->GroupUp(0, SmallShape(8), now_).ok());
  ASSERT_TRUE(scheduler_->GroupUp(1, SmallShape(8), now_).ok());
  for (RequestId id = 1; id <= 4; ++id) scheduler_->SubmitRequest(SmallRequest(id, 6, 2), now_);
  const Actions actions = scheduler_->RunOnce(now_);
  std::map<int, size_t> starts;
  for (const GroupPlan& plan : actions.plans) starts[plan.group] += plan.plan.starts.size();
  EXPECT_EQ(starts[0], 2u);
  EXPECT_EQ(starts[1], 2u);
}

}  // namespace
}  // namespace headgate
