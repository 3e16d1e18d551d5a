// Ranks as child processes of a bench or a test, one per GPU while there are enough. REQUIRES: the
// calling process has one thread and has not touched CUDA, which does not survive a fork.
#pragma once

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "worker/collective/collective.h"

namespace headgate {

// 0 when there is no driver. Asked for in a child: the caller may fork afterwards.
int CountGpus();

// Runs `rank` in `ranks` processes that have met over Gloo on 127.0.0.1; GPU rank % CountGpus() is
// current. Errors go to stderr; INTERNAL when a rank failed or a signal ended it, the other ranks
// are killed then; DEADLINE_EXCEEDED when they take longer than `limit`.
absl::Status RunForked(int ranks, absl::Duration limit,
                       absl::FunctionRef<absl::Status(Collective&)> rank);

}  // namespace headgate
