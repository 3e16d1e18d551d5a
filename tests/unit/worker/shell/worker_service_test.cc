// The worker behind its gRPC service: epochs, plans in flight, lost schedulers and lost peers.
#include "worker/shell/worker_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "headgate/internal/cluster.grpc.pb.h"
#include "nlohmann/json.hpp"
#include "proto/wire.h"
#include "tests/unit/worker/group_rig.h"

namespace headgate {
namespace {

// What a scheduler does with one rank, synchronously.
class Link {
 public:
  explicit Link(const std::string& address, const grpc::ChannelArguments& arguments = {})
      : stub_(internal::Worker::NewStub(
            grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments))) {
    context_.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(60)));
    stream_ = stub_->Run(&context_);
  }
  ~Link() { Cancel(); }

  void SendInit(Epoch epoch, int rank = 0, int ranks = 1, const std::string& rendezvous = "") {
    internal::WorkerCommand command;
    command.mutable_init()->set_epoch(epoch);
    command.mutable_init()->set_rank(rank);
    command.mutable_init()->set_ranks(ranks);
    command.mutable_init()->set_rendezvous(rendezvous);
    stream_->Write(command);
  }
  void SendPlan(const StepPlan& plan) {
    internal::WorkerCommand command;
    ToWire(plan, *command.mutable_plan());
    stream_->Write(command);
  }
  // nullopt: the stream ended; see status(). Passes over Loading.
  std::optional<RankReady> ReadReady() {
    internal::WorkerReply reply;
    while (stream_->Read(&reply)) {
      if (reply.has_ready()) return *FromWire(reply.ready());
      ++loading_;
    }
    return std::nullopt;
  }
  std::optional<StepResult> ReadResult() {
    internal::WorkerReply reply;
    if (!stream_->Read(&reply) || !reply.has_result()) return std::nullopt;
    return *FromWire(reply.result());
  }
  // Waits for the end of the stream.
  grpc::Status Finish() {
    internal::WorkerReply reply;
    while (stream_->Read(&reply)) {
    }
    finished_ = true;
    return stream_->Finish();
  }
  void Cancel() {
    if (finished_) return;
    context_.TryCancel();
    Finish();
  }
  void HalfClose() { stream_->WritesDone(); }
  int loading() const { return loading_; }

 private:
  std::unique_ptr<internal::Worker::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<internal::WorkerCommand, internal::WorkerReply>> stream_;
  int loading_ = 0;
  bool finished_ = false;
};

class WorkerServiceTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string folder = testing::TempDir() + "/service_XXXXXX";
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    folder_ = folder;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  WorkerServiceOptions Options(const std::string& name) {
    WorkerServiceOptions options;
    options.listen = Address(name);
    options.loop.worker = SmallOptions(TestModel("stories260k"));
    options.loop.meet_timeout = absl::Seconds(20);
    options.loop.on_fatal = [this](const absl::Status& why) {
      fatal_status_ = why;
      fatal_.Notify();
    };
    return options;
  }
  std::string Address(const std::string& name) const { return "unix:" + folder_ + "/" + name; }
  std::unique_ptr<WorkerService> StartService(WorkerServiceOptions options) {
    auto service = WorkerService::Start(std::move(options));
    EXPECT_TRUE(service.ok()) << service.status();
    return service.ok() ? *std::move(service) : nullptr;
  }

  std::string folder_;
  absl::Notification fatal_;
  absl::Status fatal_status_;
};

StepPlan FirstPlan(Epoch epoch, SequenceId id, std::vector<TokenId> tokens) {
  StepPlan plan;
  plan.epoch = epoch;
  plan.step = 1;
  plan.starts.push_back({id, {}, 0, static_cast<int64_t>(tokens.size())});
  plan.chunks.push_back({id, 0, std::move(tokens), true, {}});
  return plan;
}

StepPlan DecodePlan(Epoch epoch, StepId step, SequenceId id, int64_t position) {
  StepPlan plan;
  plan.epoch = epoch;
  plan.step = step;
  plan.chunks.push_back({id, position, {}, true, {}});
  return plan;
}

StepPlan EmptyPlan(Epoch epoch) {
  StepPlan plan;
  plan.epoch = epoch;
  plan.step = 1;
  return plan;
}

std::vector<TokenId> GoldenStory() {
  std::ifstream file(TestModel("stories260k") + "/golden.json");
  return nlohmann::json::parse(file)["greedy_ids_from_bos"].get<std::vector<TokenId>>();
}

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
  other_rank.SendInit(2, 1, 2, folder_);
  EXPECT_EQ(other_rank.Finish().error_code(), grpc::StatusCode::FAILED_PRECONDITION);
}

TEST_F(WorkerServiceTest, AFolderWithoutAModelIsSeenAtOnce) {
  WorkerServiceOptions options = Options("w");
  options.loop.worker.model = ModelFolder{folder_};
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
  to_root.SendInit(1, 0, 2, folder_);
  to_peer.SendInit(1, 1, 2, folder_);
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
  waiting.SendInit(1, 0, 2, folder_);
  absl::SleepFor(absl::Milliseconds(300));
  waiting.Cancel();
  auto peer = StartService(Options("peer"));
  Link root(Address("w")), other(Address("peer"));
  root.SendInit(2, 0, 2, folder_);
  other.SendInit(2, 1, 2, folder_);
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
        to_root.SendInit(1, 0, 2, folder_);
        to_peer.SendInit(1, 1, 2, folder_);
        if (!to_root.ReadReady() || !to_peer.ReadReady()) _exit(1);
        to_peer.Cancel();
        peer->Shutdown();
        to_root.SendPlan(FirstPlan(1, 1, {1, 2}));
        absl::SleepFor(absl::Milliseconds(800));
        const WorkerProgress progress = root->Progress();
        _exit(progress.busy > absl::Milliseconds(400) && progress.steps == 0 ? 0 : 2);
      },
      testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace headgate
