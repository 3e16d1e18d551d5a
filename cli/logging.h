// How every role writes its log: one line per event on stderr, never user text.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace headgate {

// Sets up spdlog for this process. `role` stands in every line ("worker 0.1"). `level` is one of
// trace, debug, info, warn, error, off; INVALID_ARGUMENT otherwise.
absl::Status StartLogging(const std::string& role, const std::string& level);

}  // namespace headgate
