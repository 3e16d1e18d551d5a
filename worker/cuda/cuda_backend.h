// The CUDA backend: one GPU, one stream. bf16 weights, operands and pages; fp32 sums and logits.
//
// The same step twice gives the same bits. What a query sees depends on its position alone, but the
// order of sums depends on how many rows a step has (small products have their own kernel), on
// where a chunk begins, and for chunks of one position on how the batch's rows are cut over the
// GPU. So another chunking or other batch mates change results by rounding to bf16, and nothing
// else.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "worker/backend.h"

namespace headgate {

struct CudaBackendOptions {
  int device = 0;
  int64_t step_tokens_max = 512;
};

// UNAVAILABLE when there is no such device or driver.
absl::StatusOr<std::unique_ptr<Backend>> MakeCudaBackend(const CudaBackendOptions& options);

}  // namespace headgate
