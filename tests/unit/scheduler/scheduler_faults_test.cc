// Cancels, deadlines, lost groups and workers that misbehave.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/scheduler/scheduler_fixture.h"

namespace headgate {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST_F(SchedulerTest, CancelInEachStateLeavesNothingBehind) {
  SchedulerConfig config;
  config.running_limit = 1;
  Start(16, config);
  scheduler_->SubmitRequest(SmallRequest(1, 3, 8), now_);
  scheduler_->SubmitRequest(SmallRequest(2, 3, 8), now_);
  Run();
  scheduler_->Cancel(2);  // waiting
  Finish();               // a token of 1 is ready, not yet handed out
  scheduler_->Cancel(1);
  scheduler_->Cancel(77);
  RunToEnd();
  EXPECT_THAT(events_, IsEmpty());
  const SchedulerStats stats = scheduler_->Stats();
  EXPECT_EQ(stats.cancelled, 2u);
  EXPECT_EQ(stats.requests_running + stats.requests_waiting, 0u);
  EXPECT_EQ(stats.ranks[0].ledger_held + stats.ranks[0].ledger_reserved, 0u);
  EXPECT_EQ(scheduler_->Marks()[Mark::kCancelDropsEvents], 1u);
}

TEST_F(SchedulerTest, DeadlinesEndWaitingAndRunningRequests) {
  SchedulerConfig config;
  config.running_limit = 1;
  Start(16, config);
  Request first = SmallRequest(1, 3, 50);
  first.deadline = now_ + absl::Milliseconds(25);
  Request second = SmallRequest(2, 3, 8);
  second.deadline = now_ + absl::Milliseconds(5);
  scheduler_->SubmitRequest(first, now_);
  scheduler_->SubmitRequest(second, now_);
  EXPECT_EQ(scheduler_->NextDeadline(), second.deadline);
  RunToEnd();
  EXPECT_EQ(Error(1).code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(Error(2).code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(Tokens(1), SizeIs(3));  // what was computed in time goes out
  EXPECT_THAT(Tokens(2), IsEmpty());
  EXPECT_EQ(scheduler_->NextDeadline(), absl::InfiniteFuture());
}

TEST_F(SchedulerTest, ALostGroupIsReplayedWithoutGapOrRepeat) {
  Start(16);
  scheduler_->SubmitRequest(SmallRequest(1, 3, 6), now_);
  Run();
  Finish();
  Run();
  Finish();
  Run();
  const std::deque<StepPlan> lost = plans_;
  plans_.clear();
  scheduler_->GroupDown(0, now_);
  Run();
  scheduler_->StepDone(0, group_->Run(lost.front()), now_);  // late
  ASSERT_TRUE(scheduler_->GroupUp(0, SmallShape(16, 2), now_).ok());
  scheduler_->StepDone(0, group_->Run(lost.front()), now_);  // of the old epoch
  RunToEnd();
  EXPECT_THAT(Tokens(1), ElementsAre(100, 101, 102, 103, 104, 105));
  EXPECT_EQ(scheduler_->Stats().stale_messages, 2u);
  EXPECT_EQ(scheduler_->Stats().replays, 1u);
  EXPECT_EQ(scheduler_->Stats().group_restarts, 1u);
}

TEST_F(SchedulerTest, RefusesAGroupThatItCannotCount) {
  Start(16);
  GroupShape shape = SmallShape(16, 2);
  EXPECT_TRUE(scheduler_->GroupUp(0, shape, now_).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(scheduler_->GroupUp(0, shape, now_)));  // not newer
  shape.epoch = 3;
  shape.page_tokens = 0;
  EXPECT_TRUE(absl::IsInvalidArgument(scheduler_->GroupUp(0, shape, now_)));
  shape = SmallShape(16, 3);
  shape.vocab = 0;
  EXPECT_TRUE(absl::IsInvalidArgument(scheduler_->GroupUp(0, shape, now_)));
  EXPECT_EQ(scheduler_->Stats().groups_ready, 1u);
  EXPECT_EQ(scheduler_->Stats().stale_messages, 3u);
}

TEST_F(SchedulerTest, AServersReplayContinuesItsStream) {
  Start(16);
  Request request = SmallRequest(1, 3, 4);
  request.emitted = {100, 101};
  scheduler_->SubmitRequest(request, now_);
  Request complete = SmallRequest(2, 3, 2);
  complete.emitted = {100, 101};
  scheduler_->SubmitRequest(complete, now_);
  RunToEnd();
  ASSERT_THAT(events_[1], SizeIs(2));
  EXPECT_EQ(events_[1][0].token_index, 2);
  EXPECT_EQ(events_[1][0].token, 102);
  ASSERT_THAT(events_[2], SizeIs(1));
  EXPECT_EQ(Finished(2), FinishReason::kLength);
}

TEST_F(SchedulerTest, OnlyTheRequestWithBadLogitsFails) {
  Start(16, {}, 2);
  scheduler_->SubmitRequest(SmallRequest(1, 3, 4), now_);
  scheduler_->SubmitRequest(SmallRequest(2, 3, 4), now_);
  scheduler_->SubmitRequest(SmallRequest(3, 3, 4), now_);
  Run();
  std::vector<StepResult> results = group_->Run(plans_.front());
  plans_.pop_front();
  results[1].sequences[0].failed = true;
  results[0].sequences[2].token = 1000;
  scheduler_->StepDone(0, results, now_);
  RunToEnd();
  EXPECT_EQ(Error(1).code(), absl::StatusCode::kInternal);
  EXPECT_EQ(Error(3).code(), absl::StatusCode::kInternal);
  EXPECT_THAT(Tokens(2), SizeIs(4));
}

TEST_F(SchedulerTest, AReportOfMorePagesThanReservedEndsThatRequest) {
  Start(16);
  scheduler_->SubmitRequest(SmallRequest(1, 3, 4), now_);
  scheduler_->SubmitRequest(SmallRequest(2, 3, 4), now_);
  Run();
  std::vector<StepResult> results = group_->Run(plans_.front());
  plans_.pop_front();
  results[0].sequences[0].pages_held = 9;
  scheduler_->StepDone(0, results, now_);
  RunToEnd();
  EXPECT_EQ(Error(1).code(), absl::StatusCode::kInternal);
  EXPECT_THAT(Tokens(2), SizeIs(4));
}

TEST_F(SchedulerTest, DuplicateAndMalformedResultsAreCountedOnly) {
  Start(16);
  scheduler_->SubmitRequest(SmallRequest(1, 3, 4), now_);
  Run();
  const std::vector<StepResult> first = group_->Run(plans_.front());
  plans_.pop_front();
  std::vector<StepResult> short_one = first;
  short_one[0].sequences.clear();
  scheduler_->StepDone(0, short_one, now_);
  scheduler_->StepDone(0, {}, now_);
  scheduler_->StepDone(0, first, now_);
  scheduler_->StepDone(0, first, now_);
  RunToEnd();
  EXPECT_THAT(Tokens(1), SizeIs(4));
  EXPECT_EQ(scheduler_->Stats().stale_messages, 3u);
}

TEST_F(SchedulerTest, PagesInReleaseDoNotTriggerACascade) {
  // Three sequences of one page each and a pool of 6. When all cross a page border at once, the
  // oldest two get pages; nobody may be preempted twice for pages that are on their way back.
  SchedulerConfig config;
  config.steps_in_flight = 2;
  Start(6, config);
  for (RequestId id = 1; id <= 5; ++id) scheduler_->SubmitRequest(SmallRequest(id, 3, 9), now_);
  RunToEnd();
  for (RequestId id = 1; id <= 5; ++id) EXPECT_THAT(Tokens(id), SizeIs(9)) << id;
  EXPECT_LE(scheduler_->Stats().preemptions, 10u);
  EXPECT_GE(scheduler_->Marks()[Mark::kStalledOnPending], 1u);
}

}  // namespace
}  // namespace headgate
