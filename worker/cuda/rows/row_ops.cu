// Each kernel is written once for vectors of kWidth columns, 8 or 1.
#include <algorithm>
#include <bit>
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

// Heads begin at multiples of 16 bytes: `x` may begin inside a row.
bool CanTakeEights(const bf16* x, int64_t stride) {
  return stride % 8 == 0 && reinterpret_cast<uintptr_t>(x) % 16 == 0;
}

// A block of kThreads threads for every row and kThreads * width columns of it.
dim3 RowsByColumns(int64_t rows, int64_t cols, int64_t width) {
  return dim3(static_cast<unsigned>(rows), static_cast<unsigned>(Cover(cols, kThreads * width)));
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

// Threads x of a block, a power of two within a warp, share a head; y counts heads of a row, the
// grid's y blocks of them.
template <int kWidth>
__global__ void HeadNormKernel(bf16* x, int64_t stride, int32_t heads, int32_t head_dim,
                               const float* weight, float eps) {
  LetNextKernelStart();
  AwaitEarlierKernels();
  const auto head = static_cast<int32_t>(blockIdx.y * blockDim.y + threadIdx.y);
  const bool exists = head < heads;  // all threads of a warp meet in the sum
  bf16* at = x + blockIdx.x * stride + static_cast<int64_t>(exists ? head : 0) * head_dim;
  const auto first = static_cast<int32_t>(threadIdx.x) * kWidth;
  const auto step = static_cast<int32_t>(blockDim.x) * kWidth;
  float squares = 0.0f;
  for (int32_t i = first; i < head_dim; i += step) {
    const Values<kWidth> values = Load<kWidth>(at + i);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) squares += values.at[j] * values.at[j];
  }
  for (int offset = static_cast<int>(blockDim.x) / 2; offset > 0; offset /= 2) {
    squares += __shfl_xor_sync(~0u, squares, offset);
  }
  if (!exists) return;
  const float factor = rsqrtf(squares / static_cast<float>(head_dim) + eps);
  for (int32_t i = first; i < head_dim; i += step) {
    Values<kWidth> values = Load<kWidth>(at + i);
    const Values<kWidth> weights = Load<kWidth>(weight + i);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) values.at[j] *= factor * weights.at[j];
    Store(at + i, values);
  }
}

// One block per row: the sines and cosines of the row once, then all heads. A thread rotates the
// same kWidth pairs of columns of several heads: x counts them, y heads.
template <int kWidth>
__global__ void RopeKernel(StepView step, bf16* x, int64_t stride, int32_t heads, int32_t half,
                           const float* inv_freq) {
  extern __shared__ float turn[];  // [2][half]: cosines, sines
  LetNextKernelStart();
  AwaitEarlierKernels();
  const float position = static_cast<float>(step.positions[blockIdx.x]);
  const auto threads = static_cast<int32_t>(blockDim.x * blockDim.y);
  for (auto i = static_cast<int32_t>(threadIdx.y * blockDim.x + threadIdx.x); i < half;
       i += threads) {
    TurnOf(position, inv_freq[i], &turn[i], &turn[half + i]);
  }
  __syncthreads();
  bf16* row = x + blockIdx.x * stride;
  const auto across = static_cast<int32_t>(blockDim.x) * kWidth;
  for (auto at = static_cast<int32_t>(threadIdx.x) * kWidth; at < half; at += across) {
    const Values<kWidth> cosines = Load<kWidth>(turn + at);
    const Values<kWidth> sines = Load<kWidth>(turn + half + at);
    for (auto head = static_cast<int32_t>(threadIdx.y); head < heads;
         head += static_cast<int32_t>(blockDim.y)) {
      bf16* pairs = row + static_cast<int64_t>(head) * 2 * half + at;
      Values<kWidth> low = Load<kWidth>(pairs), high = Load<kWidth>(pairs + half);
#pragma unroll
      for (int j = 0; j < kWidth; ++j) {
        Rotate(low.at[j], high.at[j], cosines.at[j], sines.at[j]);
      }
      Store(pairs, low);
      Store(pairs + half, high);
    }
  }
}

// The grid: rows x blocks of columns.
template <int kWidth>
__global__ void SiluMulKernel(const bf16* gate_up, int64_t cols, bf16* out) {
  LetNextKernelStart();
  AwaitEarlierKernels();
  const int64_t column = (int64_t{blockIdx.y} * kThreads + threadIdx.x) * kWidth;
  if (column >= cols) return;
  const bf16* gate = gate_up + blockIdx.x * 2 * cols + column;
  const Values<kWidth> up = Load<kWidth>(gate + cols);
  Values<kWidth> values = Load<kWidth>(gate);
#pragma unroll
  for (int j = 0; j < kWidth; ++j) {
    values.at[j] = SiluMul(values.at[j], up.at[j]);
  }
  StoreGlobal(out + blockIdx.x * cols + column, values);
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

template <int kWidth, typename T>
__global__ void AddBiasKernel(T* x, const float* bias, int64_t cols) {
  LetNextKernelStart();
  AwaitEarlierKernels();
  const int64_t column = (int64_t{blockIdx.y} * kThreads + threadIdx.x) * kWidth;
  if (column >= cols) return;
  T* at = x + blockIdx.x * cols + column;
  Values<kWidth> values = Load<kWidth>(at);
  const Values<kWidth> added = Load<kWidth>(bias + column);
#pragma unroll
  for (int j = 0; j < kWidth; ++j) values.at[j] += added.at[j];
  Store(at, values);
}

template <int kWidth, typename T>
__global__ void GatherRowsKernel(const T* x, const int32_t* rows, int64_t cols, T* out) {
  LetNextKernelStart();
  AwaitEarlierKernels();
  const T* from = x + rows[blockIdx.x] * cols;
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
  WithWidth(head_dim % 8 == 0 && CanTakeEights(x, stride), [&](auto width) {
    constexpr unsigned kWarpSize = kWarpThreads;
    const auto vectors = static_cast<unsigned>(Cover(head_dim, width()));
    const unsigned across = std::min(std::bit_ceil(vectors), kWarpSize);
    // Whole warps, and no more than a row's heads need.
    const unsigned down = std::clamp(std::bit_ceil(static_cast<unsigned>(heads)),
                                     kWarpSize / across, kThreads / across);
    const dim3 grid(static_cast<unsigned>(rows), static_cast<unsigned>(Cover(heads, down)));
    LaunchOverlapping(HeadNormKernel<width()>, grid, dim3(across, down), 0, stream, x, stride,
                      static_cast<int32_t>(heads), static_cast<int32_t>(head_dim), weight, eps);
  });
}

void LaunchRope(const StepView& step, bf16* x, int64_t stride, int64_t heads, int64_t head_dim,
                const float* inv_freq, cudaStream_t stream) {
  const int64_t half = head_dim / 2;
  if (step.rows * heads * half == 0) return;
  WithWidth(half % 8 == 0 && CanTakeEights(x, stride), [&](auto width) {
    const int64_t across = std::min<int64_t>(Cover(half, width()), kThreads);
    // As few rounds as possible, and the last one as full as the others.
    const int64_t rounds = Cover(heads, kThreads / across);
    const dim3 threads(static_cast<unsigned>(across), static_cast<unsigned>(Cover(heads, rounds)));
    LaunchOverlapping(RopeKernel<width()>, static_cast<unsigned>(step.rows), threads,
                      static_cast<size_t>(head_dim) * sizeof(float), stream, step, x, stride,
                      static_cast<int32_t>(heads), static_cast<int32_t>(half), inv_freq);
  });
}

void LaunchSiluMul(const bf16* gate_up, int64_t rows, int64_t cols, bf16* out,
                   cudaStream_t stream) {
  if (rows * cols == 0) return;
  WithWidth(cols % 8 == 0, [&](auto width) {
    LaunchOverlapping(SiluMulKernel<width()>, RowsByColumns(rows, cols, width()), kThreads, 0,
                      stream, gate_up, cols, out);
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
  if (rows * cols == 0) return;
  CHECK(dtype == DType::kBF16 || dtype == DType::kF32) << "AddBias";
  WithWidth(cols % 8 == 0, [&](auto width) {
    const dim3 grid = RowsByColumns(rows, cols, width());
    if (dtype == DType::kBF16) {
      LaunchOverlapping(AddBiasKernel<width(), bf16>, grid, kThreads, 0, stream,
                        static_cast<bf16*>(x), bias, cols);
    } else {
      LaunchOverlapping(AddBiasKernel<width(), float>, grid, kThreads, 0, stream,
                        static_cast<float*>(x), bias, cols);
    }
  });
}

void LaunchGatherRows(const void* x, DType dtype, const int32_t* rows, int64_t count, int64_t cols,
                      void* out, cudaStream_t stream) {
  if (count == 0) return;
  CHECK(dtype == DType::kBF16 || dtype == DType::kF32) << "GatherRows";
  WithWidth(cols % 8 == 0, [&](auto width) {
    if (dtype == DType::kBF16) {
      Launch(GatherRowsKernel<width(), bf16>, count, kThreads, stream, static_cast<const bf16*>(x),
             rows, cols, static_cast<bf16*>(out));
    } else {
      Launch(GatherRowsKernel<width(), float>, count, kThreads, stream,
             static_cast<const float*>(x), rows, cols, static_cast<float*>(out));
    }
  });
}

}  // namespace headgate
