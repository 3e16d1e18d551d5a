// The subcommands of `headgate`. Each adds itself to the parser; the chosen one sets `run`.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

#include "absl/status/status.h"

namespace headgate {

// What the chosen subcommand does once the command line is parsed.
using Run = std::function<absl::Status()>;

void AddServeCommand(CLI::App& app, Run& run);
void AddServerCommand(CLI::App& app, Run& run);
void AddSchedulerCommand(CLI::App& app, Run& run);
void AddWorkerCommand(CLI::App& app, Run& run);
void AddGenerateCommand(CLI::App& app, Run& run);
void AddLoadCommand(CLI::App& app, Run& run);
void AddBenchCommand(CLI::App& app, Run& run);

}  // namespace headgate
