#include "worker/cuda/device/event_clock.h"

#include <algorithm>

#include "base/check.h"
#include "base/status_macros.h"
#include "worker/cuda/device/cuda_status.h"

namespace headgate {
namespace {

// Both have happened.
absl::Duration Between(cudaEvent_t from, cudaEvent_t to) {
  float ms = 0.0f;
  CudaCheck(cudaEventElapsedTime(&ms, from, to), "reading the times of a step");
  return absl::Milliseconds(std::max(ms, 0.0f));
}

}  // namespace

absl::StatusOr<std::unique_ptr<EventClock>> EventClock::Create(cudaStream_t stream) {
  std::unique_ptr<EventClock> clock(new EventClock(stream));
  for (Step& step : clock->steps_) {
    for (cudaEvent_t* event : {&step.begin, &step.end}) {
      RETURN_IF_ERROR(
          CudaStatus(cudaEventCreateWithFlags(event, cudaEventDefault), "creating an event"));
    }
  }
  return clock;
}

EventClock::~EventClock() {
  for (const Step& step : steps_) {
    for (const cudaEvent_t event : {step.begin, step.end}) {
      if (event != nullptr) cudaEventDestroy(event);
    }
  }
}

void EventClock::Begin() {
  CHECK_LT(ended_, kStepsMax) << "Begin before Take";
  Step& step = At(ended_);
  step.follows = ended_ > 0;
  open_ = true;
  CudaCheck(cudaEventRecord(step.begin, stream_), "recording the begin of a step");
}

void EventClock::End() {
  CHECK(open_) << "End before Begin";
  CudaCheck(cudaEventRecord(At(ended_).end, stream_), "recording the end of a step");
  open_ = false;
  ++ended_;
}

DeviceTimes EventClock::Take() {
  CHECK(ended_ > 0) << "no step to take";
  const Step& step = At(0);
  DeviceTimes times;
  times.busy = Between(step.begin, step.end);
  if (step.follows) times.idle = Between(At(kSlots - 1).end, step.begin);
  oldest_ = (oldest_ + 1) % kSlots;
  --ended_;
  return times;
}

void EventClock::Clear() {
  ended_ = 0;
  open_ = false;
}

}  // namespace headgate
