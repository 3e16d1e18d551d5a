// Sums over a warp and over a block. Device code.
#pragma once

namespace headgate {

inline constexpr int kWarpThreads = 32;
inline constexpr int kBlockThreadsMax = 1024;

__device__ __forceinline__ float SumOverWarp(float value) {
#pragma unroll
  for (int offset = kWarpThreads / 2; offset > 0; offset /= 2) {
    value += __shfl_xor_sync(~0u, value, offset);
  }
  return value;
}

// Of whole warps; every thread gets the sum. Between two calls the block must meet.
__device__ __forceinline__ float SumOverBlock(float value) {
  __shared__ float of_warp[kBlockThreadsMax / kWarpThreads];
  const int lane = threadIdx.x % kWarpThreads;
  value = SumOverWarp(value);
  if (lane == 0) of_warp[threadIdx.x / kWarpThreads] = value;
  __syncthreads();
  return SumOverWarp(lane < blockDim.x / kWarpThreads ? of_warp[lane] : 0.0f);
}

}  // namespace headgate
