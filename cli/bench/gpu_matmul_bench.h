// `headgate bench matmul`: a Llama 3 8B's matrix products. Of few rows against reading the weights;
// with --algorithms N each of the first N algorithms that cuBLASLt offers, against the best that
// the same run reached. In programs built with CUDA only.
#pragma once

#include <CLI/CLI.hpp>

#include "cli/command.h"

namespace headgate {

void AddGpuMatMulBench(CLI::App& bench, Run& run);

}  // namespace headgate
