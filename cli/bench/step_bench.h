// `headgate bench step`: one decode step of a whole model with random weights, by batch and
// context: what the device needs for it, and the bytes that it must read.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <ostream>
#include <vector>

#include "absl/status/status.h"
#include "cli/bench/shape_flags.h"

namespace headgate {

struct StepBenchOptions : ShapeFlags {
  std::vector<int64_t> batches = {1, 16, 64};
  std::vector<int64_t> contexts = {1024, 4096};
  int64_t steps = 20;  // measured of each, after a warm-up
  int64_t page_tokens = 16;
  int64_t kv_memory_mib = 0;  // 0 = what the device can spare
  bool json = false;
};

void AddStepBenchOptions(CLI::App& command, StepBenchOptions& options);

// Prints the median of each combination and, where the device has a clock, how much of the time it
// waited for the host between steps (in JSON "idle_share", 0 to 1), or that it does not fit in
// memory (in JSON as its "error"). Errors: the backend's; INVALID_ARGUMENT for an unknown shape, or
// a context beyond its positions.
absl::Status RunStepBench(const StepBenchOptions& options, std::ostream& out);

}  // namespace headgate
