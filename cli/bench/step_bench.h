// `headgate bench step`: one decode step of a whole model with random weights, by batch and
// context: what the device needs for it, the bytes that it must read and those that it holds.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <ostream>
#include <vector>

#include "absl/status/status.h"
#include "cli/bench/shape_flags.h"

namespace headgate {

// `sparsity` without `policy`: that share of every layer's kv heads streams, spread evenly.
struct StepBenchOptions : ShapeFlags {
  static constexpr int64_t kWarmUpSteps = 3;  // before those that are measured

  std::vector<int64_t> batches = {1, 16, 64};
  std::vector<int64_t> contexts = {1024, 4096};
  int64_t steps = 20;  // measured of each, after a warm-up
  int64_t page_tokens = 16;
  int64_t page_layers = 0;    // layers with pages of their own; 0 = all
  int64_t kv_memory_mib = 0;  // of a rank; 0 = what the device can spare
  int ranks = 1;              // of a tensor-parallel group, a process each
  bool json = false;
};

void AddStepBenchOptions(CLI::App& command, StepBenchOptions& options);

// Prints the median of each combination and, where the device has a clock, how much of the time it
// waited for the host between steps (in JSON "idle_share", 0 to 1), or that it does not fit in
// memory (in JSON as its "error"). Several ranks: rank 0's process prints to `out`, and RunForked's
// requirements hold. Errors: SetUpSteps', the backend's, RunForked's.
absl::Status RunStepBench(const StepBenchOptions& options, std::ostream& out);

}  // namespace headgate
