// What every long-running role does alike: flags of a supervised process, and how it ends.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace headgate {

struct RoleFlags {
  std::string listen;
  int status_fd = -1;  // set by the supervisor

  // `listen_help`: who connects there.
  void Add(CLI::App& app, const std::string& listen_help);
};

// Under a supervisor an error goes to it, which prints it once, and the process ends here. Without
// one (status_fd < 0) the status comes back.
absl::Status EndWithCause(int status_fd, absl::Status status);

}  // namespace headgate
