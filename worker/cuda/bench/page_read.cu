#include "worker/cuda/bench/page_read.h"

namespace headgate {
namespace {

constexpr int kThreads = 256;
constexpr int kWarp = 32;
constexpr int kBlocks = 132 * 4;

__device__ uint32_t Mix(uint32_t x) {
  x = (x ^ (x >> 16)) * 0x7feb352du;
  x = (x ^ (x >> 15)) * 0x846ca68bu;
  return x ^ (x >> 16);
}

// Two bf16 in (-2, 2).
__device__ uint32_t TwoValues(uint32_t seed) { return (Mix(seed) & 0x83ff83ffu) | 0x3c003c00u; }

__global__ void FillKernel(uint4* memory, int64_t count, uint32_t seed) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += stride) {
    const uint32_t at = static_cast<uint32_t>(i) * 4 + seed;
    memory[i] = {TwoValues(at), TwoValues(at + 1), TwoValues(at + 2), TwoValues(at + 3)};
  }
}

// One warp per page.
__global__ void __launch_bounds__(kThreads, 4)
    ReadKernel(const std::byte* pages, int64_t page_bytes, const PageId* ids, int64_t count,
               uint32_t* sink) {
  constexpr int kAtOnce = 8, kPiece = kWarp * 16;
  const int lane = threadIdx.x % kWarp;
  const int64_t warps = static_cast<int64_t>(gridDim.x) * kThreads / kWarp;
  const int64_t first = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) / kWarp;
  uint32_t all = 0;
  PageId next = first < count ? ids[first] : 0;
  for (int64_t i = first; i < count; i += warps) {
    const std::byte* page = pages + next * page_bytes + lane * 16;
    if (i + warps < count) next = ids[i + warps];
    for (int64_t base = 0; base < page_bytes; base += kAtOnce * kPiece) {
      uint4 x[kAtOnce];
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k) {
        const int64_t at = base + k * kPiece;
        x[k] = at < page_bytes ? __ldcs(reinterpret_cast<const uint4*>(page + at)) : uint4{};
      }
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k) all ^= x[k].x ^ x[k].y ^ x[k].z ^ x[k].w;
    }
  }
  if (all == 0x12345678u) *sink = all;
}

}  // namespace

void LaunchFillRandom(std::byte* memory, int64_t bytes, uint32_t seed, cudaStream_t stream) {
  FillKernel<<<kBlocks * 2, kThreads, 0, stream>>>(reinterpret_cast<uint4*>(memory), bytes / 16,
                                                   seed);
}

void LaunchReadPages(const std::byte* pages, int64_t page_bytes, const PageId* ids, int64_t count,
                     uint32_t* sink, cudaStream_t stream) {
  ReadKernel<<<kBlocks, kThreads, 0, stream>>>(pages, page_bytes, ids, count, sink);
}

}  // namespace headgate
