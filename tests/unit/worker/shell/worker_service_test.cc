// The worker behind its gRPC service: epochs, plans in flight, lost schedulers and lost peers.
#include "worker/shell/worker_service.h"

#include <algorithm>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "base/check.h"
#include "tests/unit/worker/shell/service_rig.h"

namespace headgate {
namespace {

using WorkerServiceTest = ServiceRig;

TEST_F(WorkerServiceTest, PlansInFlightAreAnsweredInOrder) {
  auto service = StartService(Options("w"));
  Link link(Address("w"));
  link.SendInit(5);
  const auto ready = link.ReadReady();
  ASSERT_TRUE(ready.has_value());
  EXPECT_EQ(ready->epoch, 5u);
  EXPECT_EQ(ready->vocab, 512);
  EXPECT_EQ(ready->model, "stories260k");
  EXPECT_GT(link.loading(), 0);
  EXPECT_TRUE(service->Progress().in_epoch);
  const std::vector<TokenId> story = GoldenStory();
  link.SendPlan(FirstPlan(5, 1, {story[0]}));
  link.SendPlan(DecodePlan(5, 2, 1, 1));
  for (StepId step = 1; step <= 60; ++step) {
    link.SendPlan(DecodePlan(5, step + 2, 1, static_cast<int64_t>(step) + 1));
    const auto result = link.ReadResult();
    ASSERT_TRUE(result.has_value()) << step;
    EXPECT_EQ(result->step, step);
    EXPECT_EQ(result->sequences[0].token, story[step]);
  }
  EXPECT_GE(service->Progress().steps, 60u);
}

TEST_F(WorkerServiceTest, ManyPlansAtOnceAreAllAnswered) {
  auto service = StartService(Options("w"));
  Link link(Address("w"));
  link.SendInit(1);
  ASSERT_TRUE(link.ReadReady().has_value());
  const std::vector<TokenId> story = GoldenStory();
  link.SendPlan(FirstPlan(1, 1, {story[0]}));
  for (StepId step = 2; step <= 50; ++step) {
    link.SendPlan(DecodePlan(1, step, 1, static_cast<int64_t>(step) - 1));
  }
  for (StepId step = 1; step <= 50; ++step) {
    const auto result = link.ReadResult();
    ASSERT_TRUE(result.has_value());
    EXPECT_EQ(result->sequences[0].token, story[step]);
  }
  link.HalfClose();
  EXPECT_TRUE(link.Finish().ok());
}

TEST_F(WorkerServiceTest, ANewerEpochEndsTheOlderAndBeginsEmpty) {
  auto service = StartService(Options("w"));
  Link old(Address("w"));
  old.SendInit(3);
  ASSERT_TRUE(old.ReadReady().has_value());
  old.SendPlan(FirstPlan(3, 1, {1, 2, 3}));
  ASSERT_TRUE(old.ReadResult().has_value());
  Link stale(Address("w"));
  stale.SendInit(3);
  EXPECT_EQ(stale.Finish().error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  Link next(Address("w"));
  next.SendInit(4);
  const auto ready = next.ReadReady();
  ASSERT_TRUE(ready.has_value());
  EXPECT_EQ(old.Finish().error_code(), grpc::StatusCode::ABORTED);
  next.SendPlan(EmptyPlan(4));
  const auto result = next.ReadResult();
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->pages.free, result->pages.total);
}

TEST_F(WorkerServiceTest, ALostSchedulerFreesEverything) {
  auto service = StartService(Options("w"));
  {
    Link link(Address("w"));
    link.SendInit(1);
    ASSERT_TRUE(link.ReadReady().has_value());
    link.SendPlan(FirstPlan(1, 1, {1, 2, 3}));
    ASSERT_TRUE(link.ReadResult().has_value());
  }
  for (int i = 0; i < 100 && service->Progress().in_epoch; ++i)
    absl::SleepFor(absl::Milliseconds(20));
  EXPECT_FALSE(service->Progress().in_epoch);
  EXPECT_TRUE(service->Progress().loaded);
  Link link(Address("w"));
  link.SendInit(2);
  ASSERT_TRUE(link.ReadReady().has_value());
  link.SendPlan(EmptyPlan(2));
  const auto result = link.ReadResult();
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->pages.free, result->pages.total);
}

const QueueStats& QueueOf(const StepResult& result, std::string_view name) {
  const auto queue = std::find_if(result.queues.begin(), result.queues.end(),
                                  [&](const QueueStats& one) { return one.name == name; });
  CHECK(queue != result.queues.end()) << "no queue " << name;
  return *queue;
}

TEST_F(WorkerServiceTest, AResultTellsTheQueuesOfShellAndWorker) {
  auto service = StartService(Options("w"));
  Link link(Address("w"));
  link.SendInit(1);
  ASSERT_TRUE(link.ReadReady().has_value());
  link.SendPlan(FirstPlan(1, 1, {1, 2, 3}));
  const auto result = link.ReadResult();
  ASSERT_TRUE(result.has_value());
  EXPECT_GT(QueueOf(*result, "inbox").limit, 0u);
  EXPECT_GT(QueueOf(*result, "unsent_replies").limit, 0u);
  EXPECT_EQ(QueueOf(*result, "steps_in_flight").limit, 2u);
  EXPECT_EQ(QueueOf(*result, "sequences").size, 1u);
}

// Results that nobody reads must not pile up: the worker takes no further plan.
TEST_F(WorkerServiceTest, ASchedulerThatDoesNotReadStopsTheSteps) {
  constexpr int kPlans = 30'000;
  auto service = StartService(Options("w"));
  grpc::ChannelArguments small_window;
  small_window.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  small_window.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 1 << 16);
  Link link(Address("w"), small_window);
  link.SendInit(1);
  ASSERT_TRUE(link.ReadReady().has_value());
  std::thread writer([&link] {
    StepPlan plan = EmptyPlan(1);
    for (; plan.step <= kPlans; ++plan.step) link.SendPlan(plan);
  });
  uint64_t steps = 0;
  do {
    steps = service->Progress().steps;
    absl::SleepFor(absl::Milliseconds(500));
  } while (service->Progress().steps != steps);
  EXPECT_LT(steps, kPlans);
  uint64_t most_unsent = 0;
  for (int i = 0; i < kPlans; ++i) {
    const auto result = link.ReadResult();
    ASSERT_TRUE(result.has_value()) << i;
    const QueueStats& unsent = QueueOf(*result, "unsent_replies");
    most_unsent = std::max(most_unsent, unsent.size);
    ASSERT_LT(most_unsent, unsent.limit);
  }
  writer.join();
  EXPECT_GT(most_unsent, 0u);
}

TEST_F(WorkerServiceTest, ABrokenPlanEndsTheEpochOnly) {
  auto service = StartService(Options("w"));
  Link link(Address("w"));
  link.SendInit(1);
  ASSERT_TRUE(link.ReadReady().has_value());
  link.SendPlan(DecodePlan(1, 1, 77, 0));
  EXPECT_FALSE(link.ReadResult().has_value());
  EXPECT_EQ(link.Finish().error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  Link next(Address("w"));
  next.SendInit(2);
  EXPECT_TRUE(next.ReadReady().has_value());
  EXPECT_FALSE(fatal_.HasBeenNotified());
}

TEST_F(WorkerServiceTest, BadFirstMessagesAreRefused) {
  auto service = StartService(Options("w"));
  Link plan_first(Address("w"));
  plan_first.SendPlan(EmptyPlan(1));
  EXPECT_EQ(plan_first.Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  for (const auto& [rank, ranks] : {std::pair{1, 1}, {-1, 2}, {0, 0}, {0, 65}}) {
    Link link(Address("w"));
    link.SendInit(9, rank, ranks);
    EXPECT_EQ(link.Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT)
        << rank << "/" << ranks;
  }
  Link good(Address("w"));
  good.SendInit(1);
  ASSERT_TRUE(good.ReadReady().has_value());
  Link other_rank(Address("w"));
  other_rank.SendInit(2, 1, 2, folder_.path());
  EXPECT_EQ(other_rank.Finish().error_code(), grpc::StatusCode::FAILED_PRECONDITION);
}

TEST_F(WorkerServiceTest, AFolderWithoutAModelIsSeenAtOnce) {
  WorkerServiceOptions options = Options("w");
  options.loop.worker.model = ModelFolder{folder_.path()};
  EXPECT_EQ(WorkerService::Start(options).status().code(), absl::StatusCode::kNotFound);
  options = Options("w");
  options.listen = "0.0.0.0:0";
  EXPECT_EQ(WorkerService::Start(options).status().code(), absl::StatusCode::kFailedPrecondition);
}

// Two ranks meet through Gloo and tell the story; then one goes away.
TEST_F(WorkerServiceTest, ALostPeerEndsTheProcess) {
  auto root = StartService(Options("0"));
  auto peer = StartService(Options("1"));
  Link to_root(Address("0"));
  Link to_peer(Address("1"));
  to_root.SendInit(1, 0, 2, folder_.path());
  to_peer.SendInit(1, 1, 2, folder_.path());
  ASSERT_TRUE(to_root.ReadReady().has_value());
  ASSERT_TRUE(to_peer.ReadReady().has_value());
  const std::vector<TokenId> story = GoldenStory();
  const StepPlan plan = FirstPlan(1, 1, {story[0], story[1], story[2]});
  to_root.SendPlan(plan);
  to_peer.SendPlan(plan);
  const auto result = to_root.ReadResult();
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->sequences[0].token, story[3]);
  EXPECT_FALSE(to_peer.ReadResult()->sequences[0].sampled);
  to_peer.Cancel();
  peer->Shutdown();
  to_root.SendPlan(DecodePlan(1, 2, 1, 3));
  EXPECT_EQ(to_root.Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  ASSERT_TRUE(fatal_.WaitForNotificationWithTimeout(absl::Seconds(20)));
  EXPECT_EQ(fatal_status_.code(), absl::StatusCode::kUnavailable);
}

// A newer epoch must not wait until an older one has given up on its peers.
TEST_F(WorkerServiceTest, WaitingForPeersEndsWithTheStream) {
  auto service = StartService(Options("w"));
  Link waiting(Address("w"));
  waiting.SendInit(1, 0, 2, folder_.path());
  absl::SleepFor(absl::Milliseconds(300));
  waiting.Cancel();
  auto peer = StartService(Options("peer"));
  Link root(Address("w")), other(Address("peer"));
  root.SendInit(2, 0, 2, folder_.path());
  other.SendInit(2, 1, 2, folder_.path());
  const absl::Time start = absl::Now();
  EXPECT_TRUE(root.ReadReady().has_value());
  EXPECT_TRUE(other.ReadReady().has_value());
  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
  EXPECT_FALSE(fatal_.HasBeenNotified());
}

// With the hanging collective the step never ends: only the age of the step tells.
TEST_F(WorkerServiceTest, AHangingStepShowsItsAge) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        WorkerServiceOptions options = Options("0");
        options.loop.hang_on_peer_loss = true;
        auto root = StartService(options);
        auto peer = StartService(Options("1"));
        Link to_root(Address("0"));
        Link to_peer(Address("1"));
        to_root.SendInit(1, 0, 2, folder_.path());
        to_peer.SendInit(1, 1, 2, folder_.path());
        if (!to_root.ReadReady() || !to_peer.ReadReady()) _exit(1);
        to_peer.Cancel();
        peer->Shutdown();
        to_root.SendPlan(FirstPlan(1, 1, {1, 2}));
        absl::SleepFor(absl::Milliseconds(800));
        const WorkerProgress progress = root->Progress();
        std::filesystem::remove_all(folder_.path());  // _exit destroys nothing
        _exit(progress.busy > absl::Milliseconds(400) && progress.steps == 0 ? 0 : 2);
      },
      testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace headgate
