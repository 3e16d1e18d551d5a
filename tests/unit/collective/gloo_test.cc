// Gloo between threads (sums, gathers) and between processes (a peer that dies or stops).
#include "worker/collective/gloo.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <functional>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "tests/test_folder.h"

namespace headgate {
namespace {

class GlooTest : public testing::Test {
 protected:
  GlooOptions Options(int rank, int size) const {
    GlooOptions options;
    options.rank = rank;
    options.size = size;
    options.rendezvous = folder_.path();
    options.epoch = 7;
    options.meet_timeout = absl::Seconds(20);
    options.timeout = absl::Seconds(2);
    return options;
  }

  // Runs `body` on every rank, each in a thread of its own.
  void RunRanks(int size, const std::function<void(Collective&)>& body) const {
    std::vector<std::thread> threads;
    for (int rank = 0; rank < size; ++rank) {
      threads.emplace_back([&, rank] {
        auto collective = MakeGlooCollective(Options(rank, size));
        ASSERT_TRUE(collective.ok()) << collective.status();
        body(**collective);
        EXPECT_TRUE((*collective)->Barrier().ok());
      });
    }
    for (auto& thread : threads) thread.join();
  }

  // A second process that joins as rank 1, makes one barrier and then does `then`.
  pid_t StartPeer(const std::function<void()>& then) const {
    const pid_t child = fork();
    if (child == 0) {
      auto collective = MakeGlooCollective(Options(1, 2));
      if (!collective.ok() || !(*collective)->Barrier().ok()) _exit(9);
      then();
      _exit(0);
    }
    return child;
  }

  const TestFolder folder_;
};

float Value(int rank, size_t i) {
  return 0.1f * static_cast<float>(rank + 1) + 1e-3f * static_cast<float>(i % 997);
}

TEST_F(GlooTest, SumsAreTheSameBitsOnEveryRank) {
  // Below a segment, a few segments, and large enough for the ring.
  for (const int size : {2, 3}) {
    for (const size_t count : {1u, 577u, 10000u, 50001u}) {
      std::vector<std::vector<float>> results(static_cast<size_t>(size));
      RunRanks(size, [&](Collective& collective) {
        std::vector<float>& mine = results[static_cast<size_t>(collective.rank())];
        mine.resize(count);
        for (size_t i = 0; i < count; ++i) mine[i] = Value(collective.rank(), i);
        ASSERT_TRUE(collective.AllReduceSum(mine).ok());
      });
      for (size_t i = 0; i < count; ++i) {
        double sum = 0;
        for (int rank = 0; rank < size; ++rank) sum += Value(rank, i);
        ASSERT_NEAR(results[0][i], sum, 1e-5);
      }
      for (const auto& result : results) {
        ASSERT_EQ(std::memcmp(result.data(), results[0].data(), count * sizeof(float)), 0);
      }
      std::filesystem::remove_all(folder_.path());
      std::filesystem::create_directory(folder_.path());
    }
  }
}

TEST_F(GlooTest, GathersUnevenPartsAndBroadcasts) {
  RunRanks(3, [](Collective& collective) {
    const std::vector<int64_t> counts = {3, 9000, 0};
    const size_t mine = static_cast<size_t>(counts[static_cast<size_t>(collective.rank())]);
    std::vector<float> values(mine, static_cast<float>(collective.rank() + 1));
    std::vector<float> all(collective.rank() == 0 ? 9003 : 0);
    ASSERT_TRUE(collective.GatherToRoot(values, counts, all).ok());
    if (collective.rank() == 0) {
      EXPECT_EQ(all[2], 1.0f);
      EXPECT_EQ(all[3], 2.0f);
      EXPECT_EQ(all[9002], 2.0f);
    }
    std::vector<std::byte> word(40000, std::byte(collective.rank() == 0 ? 5 : 0));
    ASSERT_TRUE(collective.Broadcast(std::span(word)).ok());
    EXPECT_EQ(word.front(), std::byte{5});
    EXPECT_EQ(word.back(), std::byte{5});
  });
}

TEST_F(GlooTest, KilledPeerIsUnavailable) {
  const pid_t child = StartPeer([] { raise(SIGKILL); });
  auto collective = MakeGlooCollective(Options(0, 2));
  ASSERT_TRUE(collective.ok()) << collective.status();
  ASSERT_TRUE((*collective)->Barrier().ok());
  std::vector<float> small(576), large(100000);
  EXPECT_EQ((*collective)->AllReduceSum(small).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ((*collective)->AllReduceSum(large).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ((*collective)->AllReduceSum(small).code(), absl::StatusCode::kUnavailable);
  waitpid(child, nullptr, 0);
}

TEST_F(GlooTest, StoppedPeerIsUnavailableAfterTheTimeout) {
  for (const size_t count : {size_t{576}, size_t{100000}}) {
    std::filesystem::remove_all(folder_.path());
    std::filesystem::create_directory(folder_.path());
    const pid_t child = StartPeer([] { raise(SIGSTOP); });
    auto collective = MakeGlooCollective(Options(0, 2));
    ASSERT_TRUE(collective.ok()) << collective.status();
    ASSERT_TRUE((*collective)->Barrier().ok());
    std::vector<float> values(count);
    const absl::Time start = absl::Now();
    EXPECT_EQ((*collective)->AllReduceSum(values).code(), absl::StatusCode::kUnavailable);
    EXPECT_GT(absl::Now() - start, absl::Seconds(1.5));
    EXPECT_LT(absl::Now() - start, absl::Seconds(10));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
  }
}

TEST_F(GlooTest, MissingPeerAndBadOptionsAreRefused) {
  GlooOptions lonely = Options(0, 2);
  lonely.meet_timeout = absl::Milliseconds(300);
  EXPECT_EQ(MakeGlooCollective(lonely).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(MakeGlooCollective(Options(2, 2)).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(MakeGlooCollective(Options(0, 1)).status().code(), absl::StatusCode::kInvalidArgument);
  GlooOptions nowhere = Options(0, 2);
  nowhere.rendezvous = folder_.At("missing");
  EXPECT_EQ(MakeGlooCollective(nowhere).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace headgate
