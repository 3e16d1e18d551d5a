// Time of choosing tokens from logits in device memory: one launch of
// worker/cuda/sampling/sample.h.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "base/sampling_params.h"

namespace headgate {

struct SampleBenchOptions {
  int64_t rows = 1;
  int64_t vocab = 128256;
  SamplingParams params;  // of all rows; penalties: half of 1,000 tokens were said
  bool peaked = true;     // logits as a model's, some 30 likely tokens; else all as likely
  int runs = 50;
};

// Median time in microseconds. RESOURCE_EXHAUSTED when the device lacks memory.
absl::StatusOr<double> BenchSample(const SampleBenchOptions& options);

}  // namespace headgate
