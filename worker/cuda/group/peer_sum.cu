#include "worker/cuda/device/block_sum.cuh"
#include "worker/cuda/device/launch.cuh"
#include "worker/cuda/group/peer_exchange.cuh"
#include "worker/cuda/group/peer_sum.h"
#include "worker/cuda/rows/row_vector.cuh"

namespace headgate {
namespace {

using bf16 = __nv_bfloat16;

constexpr int kThreads = 256;

__device__ __forceinline__ void Accumulate(Values<8>& sum, uint4 cell) {
  const uint32_t words[4] = {cell.x, cell.y, cell.z, cell.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    sum.at[2 * i] += __uint_as_float(words[i] << 16);
    sum.at[2 * i + 1] += __uint_as_float(words[i] & 0xffff0000u);
  }
}

// Rank 0's values + rank 1's + ..., in this order everywhere: the same bits on every rank. NaN when
// a peer is lost.
template <int kRanks>
__device__ __forceinline__ Values<8> SumOverRanks(const PeerView& peers, int64_t cell, uint4 mine,
                                                  uint8_t turn) {
  uint4 cells[kRanks];
  Exchange<kRanks>(peers, cell, mine, turn, cells);
  Values<8> sum = {};
#pragma unroll
  for (int r = 0; r < kRanks; ++r) {
    if (r < peers.ranks) Accumulate(sum, cells[r]);
  }
  return sum;
}

// The new values of residual at cell `cell`, stored too.
template <int kRanks>
__device__ __forceinline__ Values<8> AddSum(const PeerView& peers, float* residual,
                                            const bf16* delta, int64_t cell) {
  const uint4 mine = reinterpret_cast<const uint4*>(delta)[cell];
  const uint8_t turn = peers.turns[cell];
  Values<8> x = Load<8>(residual + cell * kCellValues);
  const Values<8> sum = SumOverRanks<kRanks>(peers, cell, mine, turn);
#pragma unroll
  for (int i = 0; i < 8; ++i) x.at[i] += sum.at[i];
  Store(residual + cell * kCellValues, x);
  return x;
}

// A block per row, and more rows in turn; one cell per thread.
template <int kRanks>
__global__ void __launch_bounds__(kBlockThreadsMax)
    SumAddRmsNormKernel(const __grid_constant__ PeerView peers, float* residual, const bf16* delta,
                        const float* weight, float eps, int64_t rows, int64_t cols, bf16* out) {
  LetNextKernelStart();
  const int64_t column = threadIdx.x * kCellValues;
  const bool exists = column < cols;
  Values<8> weights = {};
  if (exists) weights = Load<8>(weight + column);
  AwaitEarlierKernels();
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    if (row != blockIdx.x) __syncthreads();  // SumOverBlock's memory
    const int64_t at = row * cols + column;
    Values<8> x = {};
    if (exists) x = AddSum<kRanks>(peers, residual, delta, at / kCellValues);
    float squares = 0.0f;
#pragma unroll
    for (int i = 0; i < 8; ++i) squares += x.at[i] * x.at[i];
    const float factor = rsqrtf(SumOverBlock(squares) / static_cast<float>(cols) + eps);
    if (!exists) continue;
#pragma unroll
    for (int i = 0; i < 8; ++i) x.at[i] *= factor * weights.at[i];
    Store(out + at, x);
  }
}

template <int kRanks>
__global__ void __launch_bounds__(kThreads, kSmThreads / kThreads)
    SumAddKernel(const __grid_constant__ PeerView peers, float* residual, const bf16* delta,
                 int64_t cells) {
  LetNextKernelStart();
  AwaitEarlierKernels();
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t cell = blockIdx.x * int64_t{kThreads} + threadIdx.x; cell < cells; cell += stride) {
    AddSum<kRanks>(peers, residual, delta, cell);
  }
}

}  // namespace

void LaunchSumAddRmsNorm(const PeerView& peers, float* residual, const bf16* delta,
                         const float* weight, float eps, int64_t rows, int64_t cols, bf16* out,
                         cudaStream_t stream) {
  if (rows == 0) return;
  const int64_t threads = Cover(cols / kCellValues, kWarpThreads) * kWarpThreads;
  WithRanks(peers.ranks, [&](auto ranks) {
    LaunchOverlapping(SumAddRmsNormKernel<ranks()>, Blocks(peers, rows, threads),
                      static_cast<unsigned>(threads), 0, stream, peers, residual, delta, weight,
                      eps, rows, cols, out);
  });
}

void LaunchSumAdd(const PeerView& peers, float* residual, const bf16* delta, int64_t rows,
                  int64_t cols, cudaStream_t stream) {
  const int64_t cells = rows * cols / kCellValues;
  if (cells == 0) return;
  WithRanks(peers.ranks, [&](auto ranks) {
    LaunchOverlapping(SumAddKernel<ranks()>, Blocks(peers, Cover(cells, kThreads), kThreads),
                      kThreads, 0, stream, peers, residual, delta, cells);
  });
}

}  // namespace headgate
