// Requests of a load to replay, from a text file. Pure.
#pragma once

#include <cstdint>
#include <istream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace headgate {

struct TraceRequest {
  int64_t prompt_tokens = 0;
  int64_t output_tokens = 0;
  absl::Duration arrival;  // after the first; zero where the file has no times
};

// One request a line: "prompt_tokens output_tokens", or "prompt_tokens output_tokens seconds" on
// every line, the seconds never falling. Empty lines and lines that begin with '#' are passed over.
// INVALID_ARGUMENT names `file` and the line.
absl::StatusOr<std::vector<TraceRequest>> ReadTrace(std::istream& in, const std::string& file);

}  // namespace headgate
