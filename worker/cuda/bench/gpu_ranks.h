// Forked ranks (worker/collective/forked_ranks.h, with what it requires) on GPUs.
#pragma once

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "worker/collective/collective.h"

namespace headgate {

// 0 when there is no driver. Asked for in a child: the caller may fork afterwards.
int CountGpus();

// RunForked where GPU rank % CountGpus() is current: one per rank while there are enough.
// UNAVAILABLE without a GPU.
absl::Status RunOnGpus(int ranks, absl::Duration limit,
                       absl::FunctionRef<absl::Status(Collective&)> rank);

}  // namespace headgate
