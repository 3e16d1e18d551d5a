// What every long-running role does alike: flags of a supervised process, and waiting for SIGTERM.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace headgate {

struct RoleFlags {
  std::string listen;
  int status_fd = -1;  // set by the supervisor

  // `listen_help`: who connects there.
  void Add(CLI::App& app, const std::string& listen_help);
};

// Blocks SIGTERM and SIGINT for this thread and all that it starts later; call it first.
void BlockStopSignals();
// Waits for one of them; false when `limit_ms` (negative: none) has passed first.
bool WaitForStopSignal(int limit_ms = -1);

}  // namespace headgate
