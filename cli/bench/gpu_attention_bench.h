// `headgate bench attention`: decode attention of a Llama 3 8B's layers from pages, against a
// kernel that only reads the same pages. In programs built with CUDA only.
#pragma once

#include <CLI/CLI.hpp>

#include "cli/command.h"

namespace headgate {

void AddGpuAttentionBench(CLI::App& bench, Run& run);

}  // namespace headgate
