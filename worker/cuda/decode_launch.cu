#include "worker/cuda/decode_kernel.cuh"
#include "worker/cuda/decode_launch.h"

namespace headgate {
namespace {

template <int kDim, int kQueryTiles, int kWarps, int kStages>
void Launch(const DecodeCall& call, cudaStream_t stream) {
  const int group = call.attention.heads / call.attention.kv_heads;
  const auto shared = static_cast<int>(DecodeSharedBytes(kWarps, group, kDim));
  const auto kernel = DecodeKernel<kDim, kQueryTiles, kWarps, kStages>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared);
  kernel<<<static_cast<unsigned>(call.blocks), kWarps * kWarpLanes, static_cast<size_t>(shared),
           stream>>>(call);
}

template <int kDim>
void LaunchDim(const DecodeCall& call, cudaStream_t stream) {
  if (call.attention.heads / call.attention.kv_heads > 8) {
    return Launch<kDim, 2, 8, 1>(call, stream);
  }
  if (call.warps == 8 && call.stages == 1) return Launch<kDim, 1, 8, 1>(call, stream);
  if (call.warps == 8) return Launch<kDim, 1, 8, 2>(call, stream);
  if (call.warps == 16) return Launch<kDim, 1, 16, 1>(call, stream);
  Launch<kDim, 1, 12, 1>(call, stream);
}

}  // namespace

void LaunchDecode(const DecodeCall& call, cudaStream_t stream) {
  switch (call.attention.head_dim) {
#ifndef ONLY128
    case 64:
      return LaunchDim<64>(call, stream);
    case 96:
      return LaunchDim<96>(call, stream);
#endif
    default:
      return LaunchDim<128>(call, stream);
  }
}

}  // namespace headgate
