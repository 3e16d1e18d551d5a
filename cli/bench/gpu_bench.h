// `headgate bench copy | attention | prefill | matmul | rows | layer | allreduce | sample`: the
// GPU's kernels, each against a ceiling taken on the same GPU in the same run, sums over GPUs
// against NCCL. In programs built with CUDA only.
#pragma once

#include <CLI/CLI.hpp>

#include "cli/command.h"

namespace headgate {

// One subcommand each; all take --json.
void AddGpuBenches(CLI::App& bench, Run& run);

}  // namespace headgate
