// `headgate bench scheduler`: time of one step of the scheduler core, arrivals and finishes
// included, in a closed loop with workers that answer at once. Bar: 100 us at 256 running and
// 10,000 queued. (The simulator, tests/sim, prints its own pace.)
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <ostream>

#include "absl/status/status.h"

namespace headgate {

struct SchedulerBenchOptions {
  int64_t running = 256;    // sequences
  int64_t queued = 10'000;  // requests, kept at this number
  int64_t steps = 20'000;   // measured, after a warm-up
  bool json = false;
};

void AddSchedulerBenchOptions(CLI::App& command, SchedulerBenchOptions& options);

// Prints median, 99th percentile and maximum. INVALID_ARGUMENT when an option is out of range.
absl::Status RunSchedulerBench(const SchedulerBenchOptions& options, std::ostream& out);

}  // namespace headgate
