// Replays a trace against a running server over gRPC: every request a stream of its own, random
// token ids, greedy, end tokens ignored.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cli/bench/trace_file.h"

namespace headgate {

// How one request went. Times are after its own start, but that.
struct RequestTimes {
  absl::Status status;
  absl::Duration start;  // after the replay's
  int64_t prompt_tokens = 0;
  int64_t output_tokens = 0;
  absl::Duration first_token;
  absl::Duration end;
  // One for each token after the first. Tokens that came in one message share the time since the
  // message before.
  std::vector<absl::Duration> gaps;
};

struct ReplayTimes {
  absl::Duration total;  // from the first start to the last end
  std::vector<RequestTimes> requests;
};

struct ReplayOptions {
  std::string server;                       // host:port or unix:path
  absl::Duration timeout = absl::Hours(1);  // of a request
  uint64_t seed = 1;
};

// Starts every request at its arrival, however many are running, and waits for all. UNAVAILABLE
// when the server does not answer; a request that fails is in the result.
absl::StatusOr<ReplayTimes> ReplayTrace(const std::vector<TraceRequest>& trace,
                                        const ReplayOptions& options);

}  // namespace headgate
