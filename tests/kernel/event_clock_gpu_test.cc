// The clock of steps against sleeps of known length, on the stream and on the host.
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "worker/cuda/device/cuda_status.h"
#include "worker/cuda/device/event_clock.h"

namespace headgate {
namespace {

constexpr absl::Duration kWork = absl::Milliseconds(20);
constexpr absl::Duration kPause = absl::Milliseconds(10);
constexpr absl::Duration kExact = absl::Milliseconds(15);  // what sleeps may add

class GpuEventClockTest : public testing::Test {
 protected:
  void SetUp() override {
    CudaCheck(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "stream");
    clock_ = EventClock::Create(stream_).value();
  }
  void TearDown() override {
    CudaCheck(cudaStreamSynchronize(stream_), "end");
    clock_.reset();
    cudaStreamDestroy(stream_);
  }

  // Keeps the stream from going on for kWork.
  void QueueStep() {
    clock_->Begin();
    CudaCheck(cudaLaunchHostFunc(
                  stream_, [](void*) { absl::SleepFor(kWork); }, nullptr),
              "work");
    clock_->End();
  }
  void AwaitAll() { CudaCheck(cudaStreamSynchronize(stream_), "steps"); }

  cudaStream_t stream_ = nullptr;
  std::unique_ptr<EventClock> clock_;
};

void ExpectAbout(absl::Duration got, absl::Duration want) {
  EXPECT_GE(got, want - absl::Milliseconds(1));
  EXPECT_LE(got, want + kExact);
}

TEST_F(GpuEventClockTest, StepsBackToBackLeaveNoGap) {
  for (size_t i = 0; i < EventClock::kStepsMax; ++i) QueueStep();
  AwaitAll();
  for (size_t i = 0; i < EventClock::kStepsMax; ++i) {
    const DeviceTimes times = clock_->Take();
    ExpectAbout(times.busy, kWork);
    EXPECT_LT(times.idle, absl::Milliseconds(1));
  }
}

TEST_F(GpuEventClockTest, AHostThatIsLateShowsAndAPauseDoesNot) {
  QueueStep();
  for (int round = 0; round < 12; ++round) {  // around the ring
    AwaitAll();
    absl::SleepFor(kPause);
    QueueStep();  // the step before is done, but not taken
    AwaitAll();
    clock_->Take();
    const DeviceTimes late = clock_->Take();
    ExpectAbout(late.busy, kWork);
    ExpectAbout(late.idle, kPause);
    absl::SleepFor(kPause);
    QueueStep();  // all are taken
    AwaitAll();
    EXPECT_EQ(clock_->Take().idle, absl::ZeroDuration());
    QueueStep();
  }
}

TEST_F(GpuEventClockTest, StepsThatFailedAreForgotten) {
  QueueStep();
  clock_->Begin();  // and never ends
  clock_->Clear();
  absl::SleepFor(kPause);
  clock_->Begin();
  QueueStep();  // the one before never ended either
  AwaitAll();
  const DeviceTimes times = clock_->Take();
  ExpectAbout(times.busy, kWork);
  EXPECT_EQ(times.idle, absl::ZeroDuration());
}

}  // namespace
}  // namespace headgate
