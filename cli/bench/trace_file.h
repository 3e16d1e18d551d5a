// Requests of a load to replay, from a text file. Pure.
#pragma once

#include <cstdint>
#include <istream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace headgate {

// Tokens of all prompts and answers together: a replay keeps each prompt's tokens from the start
// and a time for each answer's.
inline constexpr int64_t kTraceTokensMax = int64_t{1} << 28;

// A replay may have all of them running: 512 connections of 64 (trace_replay.cc).
inline constexpr int64_t kTraceRequestsMax = int64_t{1} << 15;

struct TraceRequest {
  int64_t prompt_tokens = 0;
  int64_t output_tokens = 0;
  absl::Duration arrival;  // after the first; zero where the file has no times
};

// One request a line: "prompt_tokens output_tokens", or "prompt_tokens output_tokens seconds" on
// every line, the seconds never falling. Empty lines and lines that begin with '#' are passed over.
// INVALID_ARGUMENT names `file` and the line, and the limit (above) that it breaks.
absl::StatusOr<std::vector<TraceRequest>> ReadTrace(std::istream& in, const std::string& file);

}  // namespace headgate
