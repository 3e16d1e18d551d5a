// The CUDA backend: one GPU, one stream. bf16 weights, operands and pages; fp32 sums and logits.
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
