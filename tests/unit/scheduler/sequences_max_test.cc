// A group runs no more sequences at once than each of its ranks can hold.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "tests/unit/scheduler/scheduler_fixture.h"

namespace headgate {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

class SequencesMaxTest : public SchedulerTest {
 protected:
  // Pages for everybody; one rank for each number.
  void StartWith(const std::vector<int64_t>& sequences_max) {
    shape_ = SmallShape(1000, 1, static_cast<int>(sequences_max.size()));
    for (size_t rank = 0; rank < sequences_max.size(); ++rank) {
      shape_.ranks[rank].sequences_max = sequences_max[rank];
    }
    scheduler_ = std::make_unique<Scheduler>(SchedulerConfig{});
    group_ = std::make_unique<ScriptedGroup>(shape_);
    ASSERT_TRUE(scheduler_->GroupUp(0, shape_, now_).ok());
  }
};

TEST_F(SequencesMaxTest, TheRankThatHoldsFewestDecides) {
  StartWith({5, 2, kSequencesUnlimited});
  for (RequestId id = 1; id <= 6; ++id) {
    scheduler_->SubmitRequest(SmallRequest(id, 3, 2 + static_cast<int64_t>(id % 3)), now_);
  }
  std::set<SequenceId> resident;  // as a worker counts them: releases, then starts
  size_t most = 0;
  bool handed_on = false;
  Run();
  for (StepId next = 1; !plans_.empty();) {
    for (const StepPlan& plan : plans_) {
      if (plan.step < next) continue;
      next = plan.step + 1;
      const bool full = resident.size() == 2;
      for (const SequenceId id : plan.releases) EXPECT_EQ(resident.erase(id), 1u);
      for (const SequenceStart& start : plan.starts) resident.insert(start.sequence);
      most = std::max(most, resident.size());
      handed_on |= full && !plan.releases.empty() && !plan.starts.empty();
    }
    ASSERT_LE(resident.size(), 2u);
    Finish();
    Run();
  }
  EXPECT_EQ(most, 2u);
  EXPECT_TRUE(handed_on);  // a place is free for the plan that carries the release
  for (RequestId id = 1; id <= 6; ++id) {
    EXPECT_EQ(Finished(id), FinishReason::kLength) << id;
    EXPECT_THAT(Tokens(id), SizeIs(2 + id % 3));
  }
}

TEST_F(SequencesMaxTest, ACancelledSequenceLeavesItsPlaceInTheSamePlan) {
  StartWith({1});
  scheduler_->SubmitRequest(SmallRequest(1, 3, 20), now_);
  scheduler_->SubmitRequest(SmallRequest(2, 3, 1), now_);
  Run();
  ASSERT_THAT(plans_, SizeIs(2));
  ASSERT_THAT(plans_[0].starts, SizeIs(1));
  EXPECT_THAT(plans_[1].starts, SizeIs(0));
  const SequenceId first = plans_[0].starts[0].sequence;
  scheduler_->Cancel(1);
  Finish();
  Run();
  ASSERT_THAT(plans_, SizeIs(2));
  EXPECT_THAT(plans_[1].releases, ElementsAre(first));
  EXPECT_THAT(plans_[1].starts, SizeIs(1));
  RunToEnd();
  EXPECT_EQ(Finished(2), FinishReason::kLength);
}

TEST_F(SequencesMaxTest, AGroupThatReturnsMayHoldFewer) {
  StartWith({3});
  for (RequestId id = 1; id <= 3; ++id) scheduler_->SubmitRequest(SmallRequest(id, 3, 4), now_);
  Run();
  EXPECT_EQ(scheduler_->Stats().requests_running, 3u);
  plans_.clear();
  scheduler_->GroupDown(0, now_);
  shape_.epoch = 2;
  shape_.ranks[0].sequences_max = 1;
  group_ = std::make_unique<ScriptedGroup>(shape_);
  ASSERT_TRUE(scheduler_->GroupUp(0, shape_, now_).ok());
  Run();
  EXPECT_EQ(scheduler_->Stats().requests_running, 1u);
  RunToEnd();
  for (RequestId id = 1; id <= 3; ++id) EXPECT_THAT(Tokens(id), SizeIs(4));
}

TEST_F(SequencesMaxTest, RefusesAGroupThatHoldsNone) {
  StartWith({1, 1});
  shape_.epoch = 2;
  shape_.ranks[1].sequences_max = 0;
  EXPECT_TRUE(absl::IsInvalidArgument(scheduler_->GroupUp(0, shape_, now_)));
}

}  // namespace
}  // namespace headgate
