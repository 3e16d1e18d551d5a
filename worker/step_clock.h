// The clock of a device that works through steps while the host does something else: when the work
// of a step began and ended there. Asking it never waits. The step thread owns it.
//
//   clock.Begin(); ...the step is queued...; sampler.EndStep();
//   outcomes = sampler.Await(); times = clock.Take();   // of the oldest step that was not awaited
#pragma once

#include "base/step.h"

namespace headgate {

class StepClock {
 public:
  virtual ~StepClock() = default;

  // What is queued from here on, until the sampler's EndStep, is one step. One that began and has
  // not ended is forgotten: it failed.
  virtual void Begin() = 0;

  // Times of the oldest step not taken. REQUIRES: the sampler's Await returned its outcomes.
  virtual DeviceTimes Take() = 0;

  // Forgets all steps, as the sampler's Clear does.
  virtual void Clear() = 0;
};

}  // namespace headgate
