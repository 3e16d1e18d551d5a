// Which of the algorithms that cuBLASLt offers is the fastest on this device. Its heuristic does
// not measure.
#pragma once

#include <cuda_runtime.h>

#include "absl/status/status.h"
#include "worker/cuda/matmul/lt_matmul.h"
#include "worker/cuda/matmul/matmul_call.h"

namespace headgate {

// Times products like `call` of rows_min, a power of two, then one and a half, two, three, ...
// times that, and of call.m rows, unless lt has algorithms for them, and makes it prefer the
// fastest. For start-up: the host waits, and `out` is spoilt. Two starts may choose differently
// where algorithms are as fast as each other. RESOURCE_EXHAUSTED when there is no memory.
absl::Status ChooseAlgorithms(LtMatMul& lt, MatMulCall call, int64_t rows_min, cudaStream_t stream);

}  // namespace headgate
