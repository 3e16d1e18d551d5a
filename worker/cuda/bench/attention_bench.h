// How fast decode attention reads pages, against how fast the same GPU reads the same pages doing
// nothing else. Needs a GPU.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"

namespace headgate {

struct AttentionBenchOptions {
  std::vector<int64_t> contexts = {16384};  // tokens of each sequence of the batch
  int64_t heads = 32;
  int64_t kv_heads = 8;
  int64_t head_dim = 128;
  int64_t layers = 32;  // each with pages of its own, or the L2 cache would help
  int64_t page_tokens = 16;
  double streaming_share = 0.0;  // of the kv heads
  int64_t sinks = 64;            // of streaming heads, in tokens
  int64_t window = 256;
  int repeats = 25;
};

// Medians over the repeats. A repeat runs all layers' kernels as one graph.
struct AttentionBenchResult {
  double layer_us = 0.0;
  double plan_us = 0.0;           // once a step, for all layers
  double bytes = 0.0;             // of visible keys and values, mean of a layer
  double bytes_per_s = 0.0;       // bytes / layer_us
  double read_bytes_per_s = 0.0;  // the ceiling: a kernel that only reads these pages, random order
};

// INVALID_ARGUMENT for shapes without a kernel, RESOURCE_EXHAUSTED when the pages do not fit.
absl::StatusOr<AttentionBenchResult> BenchAttention(const AttentionBenchOptions& options);

}  // namespace headgate
