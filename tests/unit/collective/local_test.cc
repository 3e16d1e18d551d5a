#include "worker/collective/local.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "worker/collective/hanging.h"

namespace headgate {
namespace {

void RunRanks(int size, const std::function<void(Collective&)>& body) {
  LocalGroup group(size, absl::Seconds(5));
  std::vector<std::unique_ptr<Collective>> ranks;
  for (int rank = 0; rank < size; ++rank) ranks.push_back(group.Join(rank));
  std::vector<std::thread> threads;
  for (auto& rank : ranks) threads.emplace_back([&] { body(*rank); });
  for (auto& thread : threads) thread.join();
}

TEST(LocalTest, SumsAreTheSameBitsOnEveryRank) {
  std::vector<std::vector<float>> results(3);
  RunRanks(3, [&](Collective& collective) {
    std::vector<float>& mine = results[static_cast<size_t>(collective.rank())];
    for (int repeat = 0; repeat < 200; ++repeat) {
      mine.assign(1000, 0.1f + static_cast<float>(collective.rank()) * 1e-4f);
      ASSERT_TRUE(collective.AllReduceSum(mine).ok());
    }
  });
  EXPECT_NEAR(results[0][0], 0.3003f, 1e-6);
  for (const auto& result : results) {
    EXPECT_EQ(std::memcmp(result.data(), results[0].data(), 4000), 0);
  }
}

TEST(LocalTest, GathersUnevenPartsAndBroadcasts) {
  RunRanks(3, [](Collective& collective) {
    const std::vector<int64_t> counts = {1, 0, 2};
    std::vector<float> values(static_cast<size_t>(counts[static_cast<size_t>(collective.rank())]),
                              static_cast<float>(collective.rank()) + 1.0f);
    std::vector<float> all(collective.rank() == 0 ? 3 : 0);
    ASSERT_TRUE(collective.GatherToRoot(values, counts, all).ok());
    if (collective.rank() == 0) {
      EXPECT_EQ(all, (std::vector<float>{1, 3, 3}));
    }
    std::vector<std::byte> word(4, std::byte(collective.rank()));
    ASSERT_TRUE(collective.Broadcast(std::span(word)).ok());
    EXPECT_EQ(word[3], std::byte{0});
  });
}

TEST(LocalTest, SoloNeedsNobody) {
  auto solo = MakeSoloCollective();
  std::vector<float> values = {1, 2};
  std::vector<float> out(2);
  const std::vector<int64_t> counts = {2};
  EXPECT_TRUE(solo->AllReduceSum(values).ok());
  EXPECT_TRUE(solo->GatherToRoot(values, counts, out).ok());
  EXPECT_EQ(out, values);
  EXPECT_TRUE(solo->Barrier().ok());
  EXPECT_EQ(solo->size(), 1);
}

TEST(LocalTest, DeadPeerIsUnavailableAtOnce) {
  LocalGroup group(2, absl::Seconds(60));
  auto survivor = group.Join(0);
  auto peer = group.Join(1);
  std::thread death([&] { peer.reset(); });
  std::vector<float> values(3);
  EXPECT_EQ(survivor->AllReduceSum(values).code(), absl::StatusCode::kUnavailable);
  death.join();
}

TEST(LocalTest, AbsentPeerIsUnavailableAfterTheTimeout) {
  LocalGroup group(2, absl::Milliseconds(100));
  auto first = group.Join(0);
  auto second = group.Join(1);
  EXPECT_EQ(first->Barrier().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(second->Barrier().code(), absl::StatusCode::kUnavailable);
}

TEST(HangingTest, SurvivorHangsUntilAborted) {
  LocalGroup group(2, absl::Seconds(60));
  absl::Notification abort;
  auto survivor = MakeHanging(group.Join(0), &abort);
  group.Join(1).reset();
  absl::Notification returned;
  absl::Status status;
  std::thread step([&] {
    status = survivor->Barrier();
    returned.Notify();
  });
  EXPECT_FALSE(returned.WaitForNotificationWithTimeout(absl::Milliseconds(200)));
  abort.Notify();
  step.join();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace headgate
