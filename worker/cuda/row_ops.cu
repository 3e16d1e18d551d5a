#include <algorithm>

#include "worker/cuda/row_ops.h"

namespace headgate {
namespace {

constexpr int kThreads = 256;
constexpr int kWarp = 32;

int64_t Cover(int64_t values, int64_t per_block) { return (values + per_block - 1) / per_block; }

// A step has far fewer rows than grid.x can count.
dim3 RowGrid(int64_t rows) { return dim3(static_cast<unsigned>(rows)); }

__device__ float SumOverBlock(float value) {
  __shared__ float of_warp[kThreads / kWarp];
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    value += __shfl_xor_sync(~0u, value, offset);
  }
  if (threadIdx.x % kWarp == 0) of_warp[threadIdx.x / kWarp] = value;
  __syncthreads();
  float sum = 0.0f;
  for (int i = 0; i < kThreads / kWarp; ++i) sum += of_warp[i];
  return sum;
}

__global__ void EmbedKernel(StepView step, const __nv_bfloat16* table, int64_t vocab, int64_t cols,
                            float* out) {
  const TokenId token = step.tokens[blockIdx.x];
  const bool known = token >= 0 && token < vocab;
  float* to = out + blockIdx.x * cols;
  for (int64_t i = threadIdx.x; i < cols; i += blockDim.x) {
    to[i] = known ? __bfloat162float(table[token * cols + i]) : __int_as_float(0x7fffffff);
  }
}

__global__ void RmsNormKernel(float* residual, const __nv_bfloat16* delta, const float* weight,
                              float eps, int64_t cols, __nv_bfloat16* out) {
  float* x = residual + blockIdx.x * cols;
  const __nv_bfloat16* d = delta == nullptr ? nullptr : delta + blockIdx.x * cols;
  float squares = 0.0f;
  for (int64_t i = threadIdx.x; i < cols; i += blockDim.x) {
    float value = x[i];
    if (d != nullptr) {
      value += __bfloat162float(d[i]);
      x[i] = value;
    }
    squares += value * value;
  }
  const float factor = rsqrtf(SumOverBlock(squares) / static_cast<float>(cols) + eps);
  __nv_bfloat16* to = out + blockIdx.x * cols;
  for (int64_t i = threadIdx.x; i < cols; i += blockDim.x) {
    to[i] = __float2bfloat16(x[i] * factor * weight[i]);
  }
}

// One warp per (row, head).
__global__ void HeadNormKernel(__nv_bfloat16* x, int64_t stride, int64_t rows, int64_t heads,
                               int64_t head_dim, const float* weight, float eps) {
  const int64_t item = (blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x) / kWarp;
  if (item >= rows * heads) return;
  const int lane = threadIdx.x % kWarp;
  __nv_bfloat16* head = x + item / heads * stride + item % heads * head_dim;
  float squares = 0.0f;
  for (int64_t i = lane; i < head_dim; i += kWarp) {
    const float value = __bfloat162float(head[i]);
    squares += value * value;
  }
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    squares += __shfl_xor_sync(~0u, squares, offset);
  }
  const float factor = rsqrtf(squares / static_cast<float>(head_dim) + eps);
  for (int64_t i = lane; i < head_dim; i += kWarp) {
    head[i] = __float2bfloat16(__bfloat162float(head[i]) * factor * weight[i]);
  }
}

// One thread per pair of columns.
__global__ void RopeKernel(StepView step, __nv_bfloat16* x, int64_t stride, int64_t heads,
                           int64_t half, const float* inv_freq) {
  const int64_t row = blockIdx.x;
  const float position = static_cast<float>(step.positions[row]);
  for (int64_t i = threadIdx.x; i < heads * half; i += blockDim.x) {
    const int64_t at = i % half;
    __nv_bfloat16* a = x + row * stride + i / half * 2 * half + at;
    float sine, cosine;
    sincosf(position * inv_freq[at], &sine, &cosine);
    const float low = __bfloat162float(a[0]), high = __bfloat162float(a[half]);
    a[0] = __float2bfloat16(low * cosine - high * sine);
    a[half] = __float2bfloat16(high * cosine + low * sine);
  }
}

__global__ void SiluMulKernel(const __nv_bfloat16* gate_up, int64_t cols, __nv_bfloat16* out) {
  const __nv_bfloat16* gate = gate_up + blockIdx.x * 2 * cols;
  for (int64_t i = threadIdx.x; i < cols; i += blockDim.x) {
    const float g = __bfloat162float(gate[i]);
    const float up = __bfloat162float(gate[cols + i]);
    out[blockIdx.x * cols + i] = __float2bfloat16(g / (1.0f + __expf(-g)) * up);
  }
}

__global__ void AddKernel(float* residual, const __nv_bfloat16* delta, int64_t values) {
  const int64_t i = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x;
  if (i < values) residual[i] += __bfloat162float(delta[i]);
}

__global__ void AddBiasKernel(__nv_bfloat16* x, const float* bias, int64_t cols) {
  __nv_bfloat16* row = x + blockIdx.x * cols;
  for (int64_t i = threadIdx.x; i < cols; i += blockDim.x) {
    row[i] = __float2bfloat16(__bfloat162float(row[i]) + bias[i]);
  }
}

__global__ void GatherRowsKernel(const float* x, const int32_t* rows, int64_t cols, float* out) {
  const float* from = x + rows[blockIdx.x] * cols;
  for (int64_t i = threadIdx.x; i < cols; i += blockDim.x) out[blockIdx.x * cols + i] = from[i];
}

}  // namespace

void LaunchEmbed(const StepView& step, const __nv_bfloat16* table, int64_t vocab, int64_t cols,
                 float* out, cudaStream_t stream) {
  if (step.rows == 0) return;
  EmbedKernel<<<RowGrid(step.rows), kThreads, 0, stream>>>(step, table, vocab, cols, out);
}

void LaunchRmsNorm(float* residual, const __nv_bfloat16* delta, const float* weight, float eps,
                   int64_t rows, int64_t cols, __nv_bfloat16* out, cudaStream_t stream) {
  if (rows == 0) return;
  RmsNormKernel<<<RowGrid(rows), kThreads, 0, stream>>>(residual, delta, weight, eps, cols, out);
}

void LaunchHeadNorm(__nv_bfloat16* x, int64_t stride, int64_t rows, int64_t heads, int64_t head_dim,
                    const float* weight, float eps, cudaStream_t stream) {
  if (rows * heads == 0) return;
  HeadNormKernel<<<RowGrid(Cover(rows * heads * kWarp, kThreads)), kThreads, 0, stream>>>(
      x, stride, rows, heads, head_dim, weight, eps);
}

void LaunchRope(const StepView& step, __nv_bfloat16* x, int64_t stride, int64_t heads,
                int64_t head_dim, const float* inv_freq, cudaStream_t stream) {
  if (step.rows * heads == 0) return;
  RopeKernel<<<RowGrid(step.rows), kThreads, 0, stream>>>(step, x, stride, heads, head_dim / 2,
                                                          inv_freq);
}

void LaunchSiluMul(const __nv_bfloat16* gate_up, int64_t rows, int64_t cols, __nv_bfloat16* out,
                   cudaStream_t stream) {
  if (rows == 0) return;
  SiluMulKernel<<<RowGrid(rows), kThreads, 0, stream>>>(gate_up, cols, out);
}

void LaunchAdd(float* residual, const __nv_bfloat16* delta, int64_t rows, int64_t cols,
               cudaStream_t stream) {
  if (rows * cols == 0) return;
  AddKernel<<<RowGrid(Cover(rows * cols, kThreads)), kThreads, 0, stream>>>(residual, delta,
                                                                            rows * cols);
}

void LaunchAddBias(__nv_bfloat16* x, const float* bias, int64_t rows, int64_t cols,
                   cudaStream_t stream) {
  if (rows == 0) return;
  AddBiasKernel<<<RowGrid(rows), kThreads, 0, stream>>>(x, bias, cols);
}

void LaunchGatherRows(const float* x, const int32_t* rows, int64_t count, int64_t cols, float* out,
                      cudaStream_t stream) {
  if (count == 0) return;
  GatherRowsKernel<<<RowGrid(count), kThreads, 0, stream>>>(x, rows, cols, out);
}

}  // namespace headgate
