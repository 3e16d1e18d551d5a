#include "scheduler/admission.h"

#include <gtest/gtest.h>

#include "tests/unit/scheduler/scripted_group.h"

namespace headgate {
namespace {

std::vector<Group> OneGroup(uint32_t pages) {
  std::vector<Group> groups(1);
  groups[0].shape = SmallShape(pages);
  groups[0].ledger.emplace(*PageLedger::Create(groups[0].shape));
  groups[0].tokens_max = LongestSequence(groups[0].shape, *groups[0].ledger);
  groups[0].known = true;
  return groups;
}

TEST(AdmissionTest, LongestSequenceIsBoundByPagesOrPositions) {
  const GroupShape small = SmallShape(5);
  EXPECT_EQ(LongestSequence(small, *PageLedger::Create(small)), 20);
  const GroupShape large = SmallShape(1000);
  EXPECT_EQ(LongestSequence(large, *PageLedger::Create(large)), 1024);
  const GroupShape none = SmallShape(0);
  EXPECT_EQ(LongestSequence(none, *PageLedger::Create(none)), 0);
}

TEST(AdmissionTest, EverythingPassesUntilAGroupIsKnown) {
  std::vector<Group> groups(2);
  EXPECT_TRUE(CheckFits(SmallRequest(1, 900, 900), groups).ok());
}

TEST(AdmissionTest, TheLargestGroupDecides) {
  std::vector<Group> groups = OneGroup(4);
  EXPECT_TRUE(CheckFits(SmallRequest(1, 8, 8), groups).ok());
  EXPECT_FALSE(CheckFits(SmallRequest(1, 8, 9), groups).ok());
}

TEST(AdmissionTest, HeadroomGrowsWithPreemptionsUpToTheWholeLife) {
  LiveRequest live;
  live.request = SmallRequest(1, 10, 500);
  live.request.emitted = {1, 2};
  EXPECT_EQ(AdmissionTokens(live, {}, 4), 13);
  live.preemptions = 1;
  EXPECT_EQ(AdmissionTokens(live, {}, 4), 17);
  live.preemptions = 3;
  EXPECT_EQ(AdmissionTokens(live, {}, 4), 12 + 1 + 64);
  live.preemptions = AdmissionLimits{}.preemptions_max;
  EXPECT_EQ(AdmissionTokens(live, {}, 4), 510);
}

TEST(AdmissionTest, NeverAsksForMoreThanTheWholeLife) {
  LiveRequest live;
  live.request = SmallRequest(1, 10, 2);
  live.preemptions = 2;
  EXPECT_EQ(AdmissionTokens(live, {}, 4), 12);
}

}  // namespace
}  // namespace headgate
