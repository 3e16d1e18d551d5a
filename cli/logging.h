// How a process writes its log: one line per event on stderr, never user text. Called before there
// are other threads.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace headgate {

// Sends spdlog's lines of this process, from level info on, to stderr. `name` stands in every line.
void LogToStderr(const std::string& name);

// The same for a role ("worker 0.1") and a level: one of trace, debug, info, warn, error, off;
// INVALID_ARGUMENT otherwise.
absl::Status StartLogging(const std::string& role, const std::string& level);

}  // namespace headgate
