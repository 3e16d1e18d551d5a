// A device that answers long after a step was submitted, as a GPU does: what the step loop does
// while steps are in flight.
#include <algorithm>
#include <atomic>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/wait_for.h"
#include "tests/unit/worker/sampler_around.h"
#include "tests/unit/worker/shell/service_rig.h"

namespace headgate {
namespace {

// What the test and the sampler on the step thread tell each other.
struct Device {
  std::atomic<bool> stuck{false};  // nothing gets done
  std::atomic<bool> lost{false};   // a peer is gone
  std::atomic<int> in_flight_max{0};
};

// Tells of every step at the twentieth time that it is asked.
class LateSampler final : public SamplerAround {
 public:
  LateSampler(std::unique_ptr<TokenSampler> sampler, std::shared_ptr<Device> device)
      : SamplerAround(std::move(sampler)), device_(std::move(device)) {}

  void Clear() override {
    SamplerAround::Clear();
    asked_.clear();
  }
  absl::Status EndStep() override {
    asked_.push_back(0);
    device_->in_flight_max =
        std::max(device_->in_flight_max.load(), static_cast<int>(asked_.size()));
    return SamplerAround::EndStep();
  }
  absl::StatusOr<bool> Ready() override {
    if (device_->lost) return absl::UnavailableError("a peer is gone");
    return !device_->stuck && ++asked_.front() >= 20;
  }
  absl::StatusOr<std::vector<LogitOutcome>> Await() override {
    asked_.pop_front();
    return SamplerAround::Await();
  }

 private:
  const std::shared_ptr<Device> device_;
  std::deque<int> asked_;  // how often, of every step in flight
};

class LateResultsTest : public ServiceRig {
 protected:
  void SetUp() override {
    WorkerServiceOptions options = Options("w");
    options.loop.worker.around_sampler = [this](std::unique_ptr<TokenSampler> sampler) {
      return std::make_unique<LateSampler>(std::move(sampler), device_);
    };
    service_ = StartService(std::move(options));
  }

  // Two steps in flight, of which none gets done.
  void Strand(Link& link, Epoch epoch) {
    device_->stuck = true;
    link.SendInit(epoch);
    ASSERT_TRUE(link.ReadReady().has_value());
    device_->in_flight_max = 0;
    link.SendPlan(FirstPlan(epoch, 1, {1, 2, 3}));
    link.SendPlan(DecodePlan(epoch, 2, 1, 3));
    EXPECT_TRUE(WaitFor([&] { return device_->in_flight_max == 2; }));
  }
  void ExpectEmpty(Epoch epoch) {
    device_->stuck = false;
    Link link(Address("w"));
    link.SendInit(epoch);
    ASSERT_TRUE(link.ReadReady().has_value());
    link.SendPlan(EmptyPlan(epoch));
    const auto result = link.ReadResult();
    ASSERT_TRUE(result.has_value());
    EXPECT_EQ(result->pages.free, result->pages.total);
  }

  const std::shared_ptr<Device> device_ = std::make_shared<Device>();
  std::unique_ptr<WorkerService> service_;
};

TEST_F(LateResultsTest, TheNextStepIsSubmittedBeforeTheLastIsKnown) {
  Link link(Address("w"));
  link.SendInit(1);
  ASSERT_TRUE(link.ReadReady().has_value());
  const std::vector<TokenId> story = GoldenStory();
  link.SendPlan(FirstPlan(1, 1, {story[0]}));
  for (StepId step = 1; step <= 60; ++step) {
    link.SendPlan(DecodePlan(1, step + 1, 1, static_cast<int64_t>(step)));
    const auto result = link.ReadResult();
    ASSERT_TRUE(result.has_value()) << step;
    EXPECT_EQ(result->step, step);
    EXPECT_EQ(result->sequences[0].token, story[step]);
  }
  EXPECT_EQ(device_->in_flight_max, 2);
}

TEST_F(LateResultsTest, AnEpochWithoutPlansIsAnsweredAtOnce) {
  device_->stuck = true;
  Link link(Address("w"));
  link.SendInit(1);
  ASSERT_TRUE(link.ReadReady().has_value());
  link.SendPlan(EmptyPlan(1));
  EXPECT_TRUE(link.ReadResult().has_value());
}

TEST_F(LateResultsTest, AStepThatHangsShowsItsAge) {
  Link link(Address("w"));
  Strand(link, 1);
  EXPECT_TRUE(WaitFor([&] { return service_->Progress().busy > absl::Milliseconds(200); }));
  EXPECT_EQ(service_->Progress().steps, 0u);
  device_->stuck = false;
  EXPECT_TRUE(link.ReadResult().has_value());
  EXPECT_TRUE(link.ReadResult().has_value());
  EXPECT_TRUE(WaitFor([&] { return service_->Progress().busy == absl::ZeroDuration(); }));
}

TEST_F(LateResultsTest, ANewerEpochDoesNotWaitForStepsInFlight) {
  Link old(Address("w"));
  Strand(old, 1);
  ExpectEmpty(2);
  EXPECT_EQ(old.Finish().error_code(), grpc::StatusCode::ABORTED);
}

TEST_F(LateResultsTest, ALostSchedulerFreesWhatIsInFlight) {
  {
    Link link(Address("w"));
    Strand(link, 1);
  }
  EXPECT_TRUE(WaitFor([&] { return !service_->Progress().in_epoch; }));
  EXPECT_EQ(service_->Progress().busy, absl::ZeroDuration());
  ExpectEmpty(2);
}

TEST_F(LateResultsTest, ABrokenPlanBehindAStepInFlightEndsTheEpoch) {
  device_->stuck = true;
  Link link(Address("w"));
  link.SendInit(1);
  ASSERT_TRUE(link.ReadReady().has_value());
  link.SendPlan(FirstPlan(1, 1, {1, 2, 3}));
  link.SendPlan(DecodePlan(1, 2, 77, 0));  // an unknown sequence
  EXPECT_EQ(link.Finish().error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  ExpectEmpty(2);
  EXPECT_FALSE(fatal_.HasBeenNotified());
}

TEST_F(LateResultsTest, APeerLostWhileAStepRunsEndsTheProcess) {
  Link link(Address("w"));
  Strand(link, 1);
  device_->lost = true;
  EXPECT_EQ(link.Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  ASSERT_TRUE(fatal_.WaitForNotificationWithTimeout(absl::Seconds(20)));
  EXPECT_EQ(fatal_status_.code(), absl::StatusCode::kUnavailable);
}

TEST_F(LateResultsTest, ShutdownDoesNotWaitForever) {
  Link link(Address("w"));
  Strand(link, 1);
  service_->Shutdown(absl::ZeroDuration());
  EXPECT_FALSE(link.Finish().ok());
}

}  // namespace
}  // namespace headgate
