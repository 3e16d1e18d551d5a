// What gRPC's threads tell the step loop.
#pragma once

#include <memory>
#include <string>
#include <variant>

#include "base/bounded_queue.h"
#include "base/ids.h"
#include "base/step.h"

namespace headgate {

class RunStream;

// A scheduler opened a Run stream and said Init.
struct EpochOpened {
  std::shared_ptr<RunStream> stream;
  Epoch epoch = 0;
  int rank = 0;
  int ranks = 1;
  std::string rendezvous;
};

struct PlanArrived {
  std::shared_ptr<RunStream> stream;
  StepPlan plan;
};

struct EpochClosed {
  std::shared_ptr<RunStream> stream;
};

using StepEvent = std::variant<EpochOpened, PlanArrived, EpochClosed>;
using StepInbox = BoundedQueue<StepEvent>;

}  // namespace headgate
