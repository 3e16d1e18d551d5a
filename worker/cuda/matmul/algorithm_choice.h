// Which of the algorithms that cuBLASLt offers is the fastest on this device. Its heuristic does
// not measure.
#pragma once

#include <cuda_runtime.h>

#include "absl/status/status.h"
#include "worker/cuda/matmul/lt_matmul.h"
#include "worker/cuda/matmul/matmul_call.h"

namespace headgate {

// Times products like `call` of 16, 24, 32, 48, ... and call.m rows, those of more than
// rows_spared, unless lt has algorithms for them, and makes it prefer the fastest. For start-up:
// the host waits, and `out` is spoilt. Two starts may choose differently where algorithms are as
// fast as each other. RESOURCE_EXHAUSTED when there is no memory.
absl::Status ChooseAlgorithms(LtMatMul& lt, MatMulCall call, int64_t rows_spared,
                              cudaStream_t stream);

}  // namespace headgate
