// How fast decode attention reads pages, against how fast the same GPU reads the same pages doing
// nothing else. Needs a GPU.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "kvstore/visibility.h"

namespace headgate {

struct AttentionBenchOptions {
  std::vector<int64_t> contexts = {16384};  // tokens of each sequence of the batch
  // [layers][kv heads], as many in every layer. Layers have pages of their own, or the L2 cache
  // would help.
  std::vector<std::vector<RowSpec>> rows;
  int64_t group = 4;  // query heads of a kv head
  int64_t head_dim = 128;
  int64_t page_tokens = 16;
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
