// Launchers of the operations that work row by row. Shapes as in worker/backend.h; bf16 operands,
// fp32 sums and arithmetic. Any number of columns; multiples of 8 go 16 bytes at a time.
// Asynchronous on `stream`; a launch error is what cudaGetLastError says. weight, inv_freq and bias
// are constants: kernels read them before earlier ones have ended (launch.cuh).
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "base/dtype.h"
#include "worker/cuda/step_view.h"

namespace headgate {

// out[m] = table[tokens[m]]; a token outside [0, vocab) gives NaN.  table [vocab, cols]
void LaunchEmbed(const StepView& step, const __nv_bfloat16* table, int64_t vocab, int64_t cols,
                 float* out, cudaStream_t stream);

// With delta: residual += delta first. out = RmsNorm(residual).     residual, delta, out [rows,
// cols]
void LaunchRmsNorm(float* residual, const __nv_bfloat16* delta, const float* weight, float eps,
                   int64_t rows, int64_t cols, __nv_bfloat16* out, cudaStream_t stream);

// In place; `x` points at the first head of the first row, rows are `stride` apart.
void LaunchHeadNorm(__nv_bfloat16* x, int64_t stride, int64_t rows, int64_t heads, int64_t head_dim,
                    const float* weight, float eps, cudaStream_t stream);
void LaunchRope(const StepView& step, __nv_bfloat16* x, int64_t stride, int64_t heads,
                int64_t head_dim, const float* inv_freq, cudaStream_t stream);

// out = silu(gate) * up                                      gate_up [rows, 2 cols], out [rows,
// cols]
void LaunchSiluMul(const __nv_bfloat16* gate_up, int64_t rows, int64_t cols, __nv_bfloat16* out,
                   cudaStream_t stream);
// residual += delta                                                               [rows, cols] both
void LaunchAdd(float* residual, const __nv_bfloat16* delta, int64_t rows, int64_t cols,
               cudaStream_t stream);
// x[m] += bias; x is bf16 or fp32.
void LaunchAddBias(void* x, DType dtype, const float* bias, int64_t rows, int64_t cols,
                   cudaStream_t stream);
// out[i] = x[rows[i]], bf16 or fp32; `rows` in device memory.
void LaunchGatherRows(const void* x, DType dtype, const int32_t* rows, int64_t count, int64_t cols,
                      void* out, cudaStream_t stream);

}  // namespace headgate
