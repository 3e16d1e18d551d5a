// Time of prefill attention from pages: every chunk of one sequence's prompt, one layer.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"

namespace headgate {

struct PrefillBenchOptions {
  int64_t tokens = 32768;  // of the prompt
  int64_t chunk = 8192;
  int64_t heads = 32;
  int64_t kv_heads = 8;
  int64_t head_dim = 128;
  int64_t page_tokens = 16;
  bool streaming = false;  // all heads: 64 sinks, 256 recent (DuoAttention's default)
  int runs = 3;
};

struct PrefillBenchResult {
  double milliseconds = 0.0;  // attention of all chunks together, median
  double append_ms = 0.0;     // writing their keys and values to pages, likewise
  double tflops = 0.0;        // of causal full attention: 2 tokens^2 heads head_dim
};

// RESOURCE_EXHAUSTED when the device lacks memory.
absl::StatusOr<PrefillBenchResult> BenchPrefill(const PrefillBenchOptions& options);

}  // namespace headgate
