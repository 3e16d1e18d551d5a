// Launchers that change number formats. Asynchronous on `stream`.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "base/dtype.h"

namespace headgate {

// out[i] = bf16(values[i]), to nearest.
void LaunchToBf16(const void* values, DType dtype, int64_t count, __nv_bfloat16* out,
                  cudaStream_t stream);

}  // namespace headgate
