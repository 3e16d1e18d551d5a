// `headgate bench serve --trace FILE`: a recorded load through a running server, and what its
// clients saw.
#pragma once

#include <nlohmann/json.hpp>
#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "cli/bench/trace_replay.h"

namespace headgate {

struct TraceBenchOptions {
  std::string server = "127.0.0.1:50051";
  std::string trace;     // file, see trace_file.h
  bool at_once = false;  // even where the file has arrival times
  bool json = false;
};

// Tokens a second, percentiles of the time to first token and of the time between tokens, the rate
// while all requests decode, and how many failed and why first. Pure.
nlohmann::json Summarize(const ReplayTimes& times);

// UNAVAILABLE when a request failed: how many, and why the first in the order of the trace. Pure.
absl::Status CheckCompleted(const ReplayTimes& times);

// Prints the summary. INVALID_ARGUMENT for the file; UNAVAILABLE when the server does not answer,
// and after the summary when a request failed.
absl::Status RunTraceBench(const TraceBenchOptions& options, std::ostream& out);

}  // namespace headgate
