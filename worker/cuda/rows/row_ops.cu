// Each kernel is written once for vectors of kWidth columns, 8 or 1.
#include <type_traits>

#include "base/check.h"
#include "worker/cuda/device/block_sum.cuh"
#include "worker/cuda/device/launch.cuh"
#include "worker/cuda/rows/gating.cuh"
#include "worker/cuda/rows/rotation.cuh"
#include "worker/cuda/rows/row_ops.h"
#include "worker/cuda/rows/row_vector.cuh"

namespace headgate {
namespace {

using bf16 = __nv_bfloat16;

constexpr int kThreads = 256;

// Calls launch(std::integral_constant<int, width>) for the width that the columns allow. Buffers
// begin at multiples of 256 bytes, so rows of 8 i columns begin at multiples of 16.
template <typename Launch>
void WithWidth(bool eights, const Launch& launch) {
  if (eights) {
    launch(std::integral_constant<int, 8>());
  } else {
    launch(std::integral_constant<int, 1>());
  }
}

template <typename... Parameters, typename... Arguments>
void Launch(void (*kernel)(Parameters...), int64_t blocks, int64_t threads, cudaStream_t stream,
            Arguments... arguments) {
  LaunchOverlapping(kernel, static_cast<unsigned>(blocks), static_cast<unsigned>(threads), 0,
                    stream, arguments...);
}

template <int kWidth>
__global__ void EmbedKernel(StepView step, const bf16* table, int64_t vocab, int64_t cols,
                            float* out) {
  LetNextKernelStart();
  AwaitEarlierKernels();
  TokenId token = step.tokens[blockIdx.x];
  if (token == kLastSampled) {
    token = step.last_tokens[step.sequences[step.sequence_of[blockIdx.x]].place];
  }
  const bool known = token >= 0 && token < vocab;
  float* to = out + blockIdx.x * cols;
  for (int64_t i = threadIdx.x * kWidth; i < cols; i += blockDim.x * kWidth) {
    Values<kWidth> values;
    if (known) {
      values = Load<kWidth>(table + token * cols + i);
    } else {
      for (float& value : values.at) value = __int_as_float(0x7fffffff);
    }
    Store(to + i, values);
  }
}

// One pass: a thread holds its 8 columns.
__global__ void __launch_bounds__(kBlockThreadsMax)
    RmsNormKernel(float* residual, const bf16* delta, const float* weight, float eps, int64_t cols,
                  bf16* out) {
  LetNextKernelStart();
  const int64_t column = threadIdx.x * 8;
  const bool exists = column < cols;
  const int64_t at = blockIdx.x * cols + column;
  Values<8> weights = {}, x = {};
  if (exists) weights = Load<8>(weight + column);
  AwaitEarlierKernels();
  if (exists) {
    x = Load<8>(residual + at);
    if (delta != nullptr) {
      const Values<8> d = Load<8>(delta + at);
#pragma unroll
      for (int i = 0; i < 8; ++i) x.at[i] += d.at[i];
      Store(residual + at, x);
    }
  }
  float squares = 0.0f;
#pragma unroll
  for (int i = 0; i < 8; ++i) squares += x.at[i] * x.at[i];
  const float factor = rsqrtf(SumOverBlock(squares) / static_cast<float>(cols) + eps);
  if (exists) {
#pragma unroll
    for (int i = 0; i < 8; ++i) x.at[i] *= factor * weights.at[i];
    Store(out + at, x);
  }
}

// Rows that RmsNormKernel cannot hold.
__global__ void AnyRmsNormKernel(float* residual, const bf16* delta, const float* weight, float eps,
                                 int64_t cols, bf16* out) {
  LetNextKernelStart();
  AwaitEarlierKernels();
  float* x = residual + blockIdx.x * cols;
  float squares = 0.0f;
  for (int64_t i = threadIdx.x; i < cols; i += blockDim.x) {
    float value = x[i];
    if (delta != nullptr) {
      value += __bfloat162float(delta[blockIdx.x * cols + i]);
      x[i] = value;
    }
    squares += value * value;
  }
  const float factor = rsqrtf(SumOverBlock(squares) / static_cast<float>(cols) + eps);
  for (int64_t i = threadIdx.x; i < cols; i += blockDim.x) {
    out[blockIdx.x * cols + i] = __float2bfloat16(x[i] * (factor * weight[i]));
  }
}

// One warp per (row, head).
__global__ void HeadNormKernel(bf16* x, int64_t stride, int64_t rows, int64_t heads,
                               int64_t head_dim, const float* weight, float eps) {
  LetNextKernelStart();
  AwaitEarlierKernels();
  const int64_t item = (blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x) / kWarpThreads;
  if (item >= rows * heads) return;
  const int lane = threadIdx.x % kWarpThreads;
  bf16* head = x + item / heads * stride + item % heads * head_dim;
  float squares = 0.0f;
  for (int64_t i = lane; i < head_dim; i += kWarpThreads) {
    const float value = __bfloat162float(head[i]);
    squares += value * value;
  }
  const float factor = rsqrtf(SumOverWarp(squares) / static_cast<float>(head_dim) + eps);
  for (int64_t i = lane; i < head_dim; i += kWarpThreads) {
    head[i] = __float2bfloat16(__bfloat162float(head[i]) * factor * weight[i]);
  }
}

// One block per row: the sines and cosines of the row once, then all heads. A thread rotates kWidth
// pairs of columns.
template <int kWidth>
__global__ void RopeKernel(StepView step, bf16* x, int64_t stride, int64_t heads, int64_t half,
                           const float* inv_freq) {
  extern __shared__ float turn[];  // [2][half]: cosines, sines
  LetNextKernelStart();
  AwaitEarlierKernels();
  const float position = static_cast<float>(step.positions[blockIdx.x]);
  for (int64_t i = threadIdx.x; i < half; i += blockDim.x) {
    TurnOf(position, inv_freq[i], &turn[i], &turn[half + i]);
  }
  __syncthreads();
  bf16* row = x + blockIdx.x * stride;
  for (int64_t i = threadIdx.x * kWidth; i < heads * half; i += blockDim.x * kWidth) {
    const int64_t at = i % half;
    bf16* pairs = row + i / half * 2 * half + at;
    Values<kWidth> low = Load<kWidth>(pairs), high = Load<kWidth>(pairs + half);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      Rotate(low.at[j], high.at[j], turn[at + j], turn[half + at + j]);
    }
    Store(pairs, low);
    Store(pairs + half, high);
  }
}

template <int kWidth>
__global__ void SiluMulKernel(const bf16* gate_up, int64_t rows, int64_t cols, bf16* out) {
  LetNextKernelStart();
  AwaitEarlierKernels();
  const int64_t i = (blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x) * kWidth;
  if (i >= rows * cols) return;
  const bf16* gate = gate_up + i / cols * 2 * cols + i % cols;
  const Values<kWidth> up = Load<kWidth>(gate + cols);
  Values<kWidth> values = Load<kWidth>(gate);
#pragma unroll
  for (int j = 0; j < kWidth; ++j) {
    values.at[j] = SiluMul(values.at[j], up.at[j]);
  }
  Store(out + i, values);
}

template <int kWidth>
__global__ void AddKernel(float* residual, const bf16* delta, int64_t count) {
  LetNextKernelStart();
  AwaitEarlierKernels();
  const int64_t i = (blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x) * kWidth;
  if (i >= count) return;
  Values<kWidth> values = Load<kWidth>(residual + i);
  const Values<kWidth> d = Load<kWidth>(delta + i);
#pragma unroll
  for (int j = 0; j < kWidth; ++j) values.at[j] += d.at[j];
  Store(residual + i, values);
}

template <typename T>
__global__ void AddBiasKernel(T* x, const float* bias, int64_t cols) {
  LetNextKernelStart();
  AwaitEarlierKernels();
  T* row = x + blockIdx.x * cols;
  for (int64_t i = threadIdx.x; i < cols; i += blockDim.x) {
    Values<1> value = Load<1>(row + i);
    value.at[0] += bias[i];
    Store(row + i, value);
  }
}

template <int kWidth>
__global__ void GatherRowsKernel(const float* x, const int32_t* rows, int64_t cols, float* out) {
  LetNextKernelStart();
  AwaitEarlierKernels();
  const float* from = x + rows[blockIdx.x] * cols;
  for (int64_t i = threadIdx.x * kWidth; i < cols; i += blockDim.x * kWidth) {
    Store(out + blockIdx.x * cols + i, Load<kWidth>(from + i));
  }
}

}  // namespace

void LaunchEmbed(const StepView& step, const bf16* table, int64_t vocab, int64_t cols, float* out,
                 cudaStream_t stream) {
  if (step.rows == 0) return;
  WithWidth(cols % 8 == 0, [&](auto width) {
    Launch(EmbedKernel<width()>, step.rows, kThreads, stream, step, table, vocab, cols, out);
  });
}

void LaunchRmsNorm(float* residual, const bf16* delta, const float* weight, float eps, int64_t rows,
                   int64_t cols, bf16* out, cudaStream_t stream) {
  if (rows == 0) return;
  if (cols % 8 == 0 && cols <= 8 * kBlockThreadsMax) {
    Launch(RmsNormKernel, rows, Cover(cols / 8, kWarpThreads) * kWarpThreads, stream, residual,
           delta, weight, eps, cols, out);
  } else {
    Launch(AnyRmsNormKernel, rows, kThreads, stream, residual, delta, weight, eps, cols, out);
  }
}

void LaunchHeadNorm(bf16* x, int64_t stride, int64_t rows, int64_t heads, int64_t head_dim,
                    const float* weight, float eps, cudaStream_t stream) {
  if (rows * heads == 0) return;
  Launch(HeadNormKernel, Cover(rows * heads * kWarpThreads, kThreads), kThreads, stream, x, stride,
         rows, heads, head_dim, weight, eps);
}

void LaunchRope(const StepView& step, bf16* x, int64_t stride, int64_t heads, int64_t head_dim,
                const float* inv_freq, cudaStream_t stream) {
  if (step.rows * heads == 0) return;
  const int64_t half = head_dim / 2;
  // `x` may begin inside a row.
  const bool eights = half % 8 == 0 && stride % 8 == 0 && reinterpret_cast<uintptr_t>(x) % 16 == 0;
  WithWidth(eights, [&](auto width) {
    LaunchOverlapping(RopeKernel<width()>, static_cast<unsigned>(step.rows), kThreads,
                      static_cast<size_t>(head_dim) * sizeof(float), stream, step, x, stride, heads,
                      half, inv_freq);
  });
}

void LaunchSiluMul(const bf16* gate_up, int64_t rows, int64_t cols, bf16* out,
                   cudaStream_t stream) {
  if (rows * cols == 0) return;
  WithWidth(cols % 8 == 0, [&](auto width) {
    Launch(SiluMulKernel<width()>, Cover(rows * cols, kThreads * width()), kThreads, stream,
           gate_up, rows, cols, out);
  });
}

void LaunchAdd(float* residual, const bf16* delta, int64_t rows, int64_t cols,
               cudaStream_t stream) {
  const int64_t count = rows * cols;
  if (count == 0) return;
  WithWidth(count % 8 == 0, [&](auto width) {
    Launch(AddKernel<width()>, Cover(count, kThreads * width()), kThreads, stream, residual, delta,
           count);
  });
}

void LaunchAddBias(void* x, DType dtype, const float* bias, int64_t rows, int64_t cols,
                   cudaStream_t stream) {
  if (rows == 0) return;
  CHECK(dtype == DType::kBF16 || dtype == DType::kF32) << "AddBias";
  if (dtype == DType::kBF16) {
    Launch(AddBiasKernel<bf16>, rows, kThreads, stream, static_cast<bf16*>(x), bias, cols);
  } else {
    Launch(AddBiasKernel<float>, rows, kThreads, stream, static_cast<float*>(x), bias, cols);
  }
}

void LaunchGatherRows(const float* x, const int32_t* rows, int64_t count, int64_t cols, float* out,
                      cudaStream_t stream) {
  if (count == 0) return;
  WithWidth(cols % 8 == 0, [&](auto width) {
    Launch(GatherRowsKernel<width()>, count, kThreads, stream, x, rows, cols, out);
  });
}

}  // namespace headgate
