// Ranks as child processes of a measurement or a test. REQUIRES: the calling process has one thread
// and has not touched a GPU: neither survives a fork.
#pragma once

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "worker/collective/collective.h"

namespace headgate {

// Runs `rank` in `ranks` processes, 2 to 64, that have met over Gloo on 127.0.0.1. They end without
// destructors of the caller's objects; std::cout and stdio are flushed. A rank that fails ends the
// others: the first one's error is returned, "rank <n>: " before its message. INTERNAL when a
// signal ended a rank, DEADLINE_EXCEEDED when they take longer than `limit`.
absl::Status RunForked(int ranks, absl::Duration limit,
                       absl::FunctionRef<absl::Status(Collective&)> rank);

}  // namespace headgate
