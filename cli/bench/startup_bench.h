// `headgate bench startup`: from the start of this process until a worker could take its first
// plan, phase by phase.
#pragma once

#include <CLI/CLI.hpp>
#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "cli/role_flags.h"

namespace headgate {

struct StartupBenchOptions {
  ModelFlags model;
  std::string device = "cuda";
  bool json = false;
};

void AddStartupBenchOptions(CLI::App& command, StartupBenchOptions& options);

// Prints the phases and their sum. Errors: ModelFlags' and Worker::Create's.
absl::Status RunStartupBench(const StartupBenchOptions& options, std::ostream& out);

}  // namespace headgate
