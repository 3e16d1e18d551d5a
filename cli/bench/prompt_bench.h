// `headgate bench prompt`: a whole prompt through a whole model with random weights, in chunks, as
// a worker computes it: from the first plan until the first token is known.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <ostream>
#include <vector>

#include "absl/status/status.h"
#include "cli/bench/shape_flags.h"

namespace headgate {

struct PromptBenchOptions : ShapeFlags {
  std::vector<int64_t> tokens = {8192, 32768, 131072};
  int64_t chunk = 0;  // tokens of a step; 0 = what `serve` takes on the device
  int64_t runs = 3;   // measured of each, after one that warms up
  bool json = false;
};

void AddPromptBenchOptions(CLI::App& command, PromptBenchOptions& options);

// Prints median and best of each length. Errors: Worker's, also when a prompt does not fit in the
// device's pages.
absl::Status RunPromptBench(const PromptBenchOptions& options, std::ostream& out);

}  // namespace headgate
