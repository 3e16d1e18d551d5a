#include "scheduler/batch_planner.h"

#include <gtest/gtest.h>

#include "scheduler/page_reservation.h"
#include "scheduler/preemption.h"
#include "tests/unit/scheduler/scripted_group.h"

namespace headgate {
namespace {

class BatchPlannerTest : public ::testing::Test {
 protected:
  Sequence& Add(int64_t prefill, int64_t planned, int32_t priority = 0) {
    LiveRequest& live = requests_.Add(SmallRequest(next_, prefill, 100), {priority, next_});
    Sequence sequence;
    sequence.id = next_++;
    sequence.live = &live;
    sequence.prefill_tokens = prefill;
    sequence.samples_max = 100;
    sequence.tokens_planned = planned;
    sequence.tokens_reserved = std::max(prefill, planned) + 1;
    return running_.Add(sequence);
  }

  RequestTable requests_;
  RunningSet running_;
  SchedulerMarks marks_;
  uint64_t next_ = 1;
};

TEST_F(BatchPlannerTest, DecodesFirstThenChunksInOrder) {
  Add(10, 4);
  Add(6, 6);
  Add(20, 0);
  const auto drafts = DraftBatch(running_.oldest_first(), {12, 8});
  ASSERT_EQ(drafts.size(), 3u);
  EXPECT_EQ(drafts[0].index, 1u);
  EXPECT_TRUE(drafts[0].decode);
  EXPECT_EQ(drafts[1].length, 6);
  EXPECT_TRUE(drafts[1].sample);
  EXPECT_EQ(drafts[2].length, 5);
  EXPECT_FALSE(drafts[2].sample);
}

TEST_F(BatchPlannerTest, LeavesOutWhatHasNoPages) {
  Sequence& sequence = Add(6, 7);
  sequence.tokens_reserved = 7;
  EXPECT_TRUE(DraftBatch(running_.oldest_first(), {12, 8}).empty());
}

TEST_F(BatchPlannerTest, OrderIsPriorityThenArrival) {
  Add(4, 0);
  Add(4, 0, 5);
  EXPECT_EQ(running_.oldest_first()[0]->id, 2u);
  const auto drafts = DraftBatch(running_.oldest_first(), {4, 8});
  ASSERT_EQ(drafts.size(), 1u);
  EXPECT_EQ(drafts[0].index, 0u);
}

TEST_F(BatchPlannerTest, TheVictimIsTheYoungestAndNeverTheOldest) {
  Add(4, 4);
  EXPECT_FALSE(ChooseVictim(running_.oldest_first(), 0).has_value());
  Add(4, 4);
  Sequence& youngest = Add(4, 4);
  EXPECT_EQ(ChooseVictim(running_.oldest_first(), 0), 2u);
  youngest.guaranteed = true;
  EXPECT_EQ(ChooseVictim(running_.oldest_first(), 0), 1u);
  EXPECT_EQ(ChooseVictim(running_.oldest_first(), 1), 1u);
}

TEST_F(BatchPlannerTest, ASequenceInNeedWaitsForPagesInRelease) {
  PageLedger ledger = *PageLedger::Create(SmallShape(3));
  Sequence& needy = Add(4, 4);
  needy.tokens_reserved = 4;
  ASSERT_TRUE(ledger.TryReserve(needy.id, 4));
  ASSERT_TRUE(ledger.TryReserve(77, 8));
  Sequence& younger = Add(4, 4);
  younger.tokens_reserved = 8;

  EXPECT_TRUE(ReserveDecodes(ledger, running_.oldest_first(), marks_).victim.has_value());
  ASSERT_TRUE(ledger.ReleaseAt(77, 1).ok());
  DecodeReservation waits = ReserveDecodes(ledger, running_.oldest_first(), marks_);
  EXPECT_FALSE(waits.victim.has_value());
  EXPECT_TRUE(waits.starving);
  ledger.Fence(1);
  DecodeReservation gets = ReserveDecodes(ledger, running_.oldest_first(), marks_);
  EXPECT_FALSE(gets.starving);
  EXPECT_EQ(gets.grown.size(), 1u);
}

}  // namespace
}  // namespace headgate
