// When steps begin and end on the device: two events a step on the backend's stream, outside of
// what a graph records. The worker's step thread owns it.
#pragma once

#include <cuda_runtime.h>

#include <array>
#include <cstddef>
#include <memory>

#include "absl/status/statusor.h"
#include "worker/step_clock.h"

namespace headgate {

class EventClock final : public StepClock {
 public:
  static constexpr size_t kStepsMax = 4;  // ended and not taken

  // `stream` must outlive the clock. UNAVAILABLE when the device refuses events.
  static absl::StatusOr<std::unique_ptr<EventClock>> Create(cudaStream_t stream);
  ~EventClock() override;
  EventClock(const EventClock&) = delete;
  EventClock& operator=(const EventClock&) = delete;

  void Begin() override;
  // Behind the last work of the step that has begun.
  void End();
  DeviceTimes Take() override;
  void Clear() override;

 private:
  struct Step {
    cudaEvent_t begin = nullptr;
    cudaEvent_t end = nullptr;
    bool follows = false;  // a step was in flight when it began: `idle` says something
  };

  explicit EventClock(cudaStream_t stream) : stream_(stream) {}
  // The `i`th step from the oldest that ended and was not taken; the open one is number ended_.
  Step& At(size_t i) { return steps_[(oldest_ + i) % kSlots]; }

  // The step before the oldest keeps its slot: the oldest's idle time begins with its end.
  static constexpr size_t kSlots = kStepsMax + 1;

  const cudaStream_t stream_;
  std::array<Step, kSlots> steps_;
  size_t oldest_ = 0;
  size_t ended_ = 0;
  bool open_ = false;
};

}  // namespace headgate
