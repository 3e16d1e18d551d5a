// What CUDA, cuBLASLt and NCCL answer, as statuses or as the end of the process. Any thread.
#pragma once

#include <cuda_runtime.h>

#include <string_view>

#include "absl/status/status.h"

namespace headgate {

// At start-up: RESOURCE_EXHAUSTED for a lack of memory, UNAVAILABLE for anything else; the message
// says what was tried.
absl::Status CudaStatus(cudaError_t error, std::string_view what);

// While serving. After an error the context is poisoned and every answer would be wrong, so the
// process logs the cause and ends at once; its supervisor starts a new one.
void CudaCheck(cudaError_t error, const char* what);

}  // namespace headgate
