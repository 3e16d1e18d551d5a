#include <algorithm>

#include "worker/cuda/attention/decode_kernel.cuh"
#include "worker/cuda/attention/decode_launch.h"
#include "worker/cuda/device/launch.cuh"

namespace headgate {
namespace {

constexpr int64_t kBlockBytes = 2048;  // CUDA's and the kernel's own shared variables

template <int kDim, int kQueryTiles, int kWarps, int kStages>
void Launch(const DecodeCall& call, cudaStream_t stream) {
  const int group = call.attention.heads / call.attention.kv_heads;
  const auto shared = static_cast<int>(DecodeSharedBytes(kWarps, group, kDim));
  const auto kernel = DecodeKernel<kDim, kQueryTiles, kWarps, kStages>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared);
  // What blocks leave of a multiprocessor's memory is its L1 cache, through which all loads go.
  // Left as a product's kernel likes it, that takes an eighth of the bandwidth. A hint, in
  // quarters.
  const int64_t quarters = (shared + kBlockBytes) * 4 / call.processor_shared_bytes + 1;
  cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                       static_cast<int>(std::min<int64_t>(quarters, 4) * 25));
  const auto blocks = static_cast<unsigned>(call.blocks);
  const auto shared_bytes = static_cast<size_t>(shared);
  if (call.overlaps) {
    LaunchOverlapping(kernel, blocks, kWarps * kWarpLanes, shared_bytes, stream, call);
  } else {
    kernel<<<blocks, kWarps * kWarpLanes, shared_bytes, stream>>>(call);
  }
}

template <int kDim>
void LaunchDim(const DecodeCall& call, cudaStream_t stream) {
  if (call.attention.heads / call.attention.kv_heads <= 8) {
    // Tiles of 64 columns are half as large: two under way, where registers allow.
    Launch<kDim, 1, DecodeWarps(1), kDim == 64 ? 2 : 1>(call, stream);
  } else {
    Launch<kDim, 2, DecodeWarps(kDecodeGroupMax), kDim == 64 ? 2 : 1>(call, stream);
  }
}

}  // namespace

void LaunchDecode(const DecodeCall& call, cudaStream_t stream) {
  switch (call.attention.head_dim) {
    case 64:
      return LaunchDim<64>(call, stream);
    case 96:
      return LaunchDim<96>(call, stream);
    default:
      return LaunchDim<128>(call, stream);
  }
}

}  // namespace headgate
