#include "scheduler/waiting_queue.h"

#include <gtest/gtest.h>

#include <deque>

#include "scheduler/admission_round.h"
#include "scheduler/router.h"
#include "tests/unit/scheduler/scripted_group.h"

namespace headgate {
namespace {

class WaitingQueueTest : public ::testing::Test {
 protected:
  LiveRequest& Add(int64_t tokens, int32_t priority = 0) {
    LiveRequest& live = live_.emplace_back();
    live.request = SmallRequest(live_.size(), tokens - 1, 1);
    live.order = {priority, live_.size()};
    queue_.Add(live);
    return live;
  }

  std::deque<LiveRequest> live_;
  WaitingQueue queue_;
};

TEST_F(WaitingQueueTest, OrderIsPriorityThenArrivalAcrossTiers) {
  queue_.SetTiers({10, 100});
  Add(50);
  Add(5);
  Add(5, 1);
  EXPECT_EQ(queue_.First()->request.id, 3u);
  AdmissionRound round(queue_);
  const std::vector<uint8_t> all(queue_.tiers(), 1);
  EXPECT_EQ(round.Next(all)->request.id, 3u);
  EXPECT_EQ(round.Next(all)->request.id, 1u);
  EXPECT_EQ(round.Next(all)->request.id, 2u);
  EXPECT_EQ(round.Next(all), nullptr);
}

TEST_F(WaitingQueueTest, NewTiersKeepEverybody) {
  Add(50);
  Add(5);
  Add(500);
  queue_.SetTiers({10, 100});
  EXPECT_EQ(queue_.tier(0).size(), 1u);
  EXPECT_EQ(queue_.tier(1).size(), 1u);
  EXPECT_EQ(queue_.tier(2).size(), 1u);
  EXPECT_TRUE(queue_.Serves(100, 1));
  EXPECT_FALSE(queue_.Serves(99, 1));
  EXPECT_FALSE(queue_.Serves(1000, 2));
  for (LiveRequest& live : live_) queue_.Erase(live);
  EXPECT_TRUE(queue_.empty());
}

TEST_F(WaitingQueueTest, AnyNumberOfLargeRequestsHidesNoSmallOne) {
  queue_.SetTiers({10, 100});
  for (int i = 0; i < 100; ++i) Add(50);
  const LiveRequest& small = Add(5);
  AdmissionRound round(queue_);
  EXPECT_EQ(round.Next({1, 0, 0}), &small);
}

TEST_F(WaitingQueueTest, TheLookPastIsBounded) {
  queue_.SetTiers({10});
  for (int i = 0; i < 100; ++i) Add(5);
  AdmissionRound round(queue_);
  int64_t seen = 0;
  while (round.Next({1, 1}) != nullptr) {
    round.Skip();
    ++seen;
  }
  EXPECT_EQ(seen, 16);
}

TEST(RouterTest, PrefersFreePagesThenFewerSequences) {
  std::vector<Group> groups(3);
  for (Group& group : groups) {
    group.shape = SmallShape(32);
    group.ledger.emplace(*PageLedger::Create(group.shape));
    group.tokens_max = 128;
    group.known = group.up = true;
  }
  ASSERT_TRUE(groups[0].ledger->TryReserve(1, 64));
  ASSERT_TRUE(groups[1].ledger->TryReserve(2, 4));
  ASSERT_TRUE(groups[2].ledger->TryReserve(3, 4));
  LiveRequest live;
  live.request = SmallRequest(9, 8, 8);
  LiveRequest other;
  Sequence running;
  running.id = 2;
  running.live = &other;
  groups[1].running.Add(running);
  EXPECT_EQ(ChooseGroup(live, {}, groups, std::vector<uint8_t>{1, 1, 1}), 2u);
  EXPECT_EQ(ChooseGroup(live, {}, groups, std::vector<uint8_t>{1, 1, 0}), 1u);
  EXPECT_EQ(ChooseGroup(live, {}, groups, std::vector<uint8_t>{0, 0, 0}), std::nullopt);
  live.request.max_tokens = 200;  // too long for any
  EXPECT_EQ(ChooseGroup(live, {}, groups, std::vector<uint8_t>{1, 1, 1}), std::nullopt);
}

TEST(RouterTest, TheFullestRankDecides) {
  std::vector<Group> groups(2);
  for (size_t i = 0; i < 2; ++i) {
    groups[i].shape = SmallShape(32, 1, 2);
    groups[i].shape.ranks[1].pages_total = i == 0 ? 4 : 16;
    groups[i].ledger.emplace(*PageLedger::Create(groups[i].shape));
    groups[i].tokens_max = 16;
    groups[i].known = groups[i].up = true;
  }
  LiveRequest live;
  live.request = SmallRequest(9, 8, 8);
  EXPECT_EQ(ChooseGroup(live, {}, groups, std::vector<uint8_t>{1, 1}), 1u);
}

}  // namespace
}  // namespace headgate
