#include "worker/cuda/attention/prefill_attention.h"
#include "worker/cuda/attention/prefill_consumer.cuh"
#include "worker/cuda/attention/prefill_copy.cuh"
#include "worker/cuda/attention/prefill_maps.h"
#include "worker/cuda/device/launch.cuh"

namespace headgate {
namespace {

template <int kDim>
__device__ void Compute(const AttentionCall& call, PrefillShared<kDim>& shared, int thread) {
  Consumer<kDim> consumer(call, shared, thread);
#pragma unroll 1
  for (bool careful = false;; careful = true) {
    const bool fits = consumer.Run(careful, careful ? shared.tile.steps : 0);
    if (careful || !AnyAsksAgain(shared, !fits)) break;
  }
  consumer.Store();
}

// The keys by one warp, the values by another.
template <int kDim>
__device__ void LoadAll(const AttentionCall& call, const PrefillMaps& maps,
                        PrefillShared<kDim>& shared, bool values, int lane) {
  const Tile& tile = shared.tile;
  const CopySource source{values ? call.tables.page_tokens : 0,
                          (call.heads + (values ? call.kv_heads : 0) + tile.head) * kDim};
  const Loader<kDim> loader{call,
                            maps,
                            tile,
                            source,
                            values ? shared.v : shared.k,
                            values ? shared.v_full : shared.k_full,
                            values ? shared.v_empty : shared.k_empty,
                            lane};
#pragma unroll 1
  for (bool again = false;; again = true) {
    loader.Run(again ? tile.steps : 0);
    if (again || !AnyAsksAgain(shared, false)) break;
  }
}

template <int kDim>
__global__ void __launch_bounds__(kConsumers + kGroupThreads, 1)
    PrefillKernel(const AttentionCall call, const __grid_constant__ PrefillMaps maps) {
#if __CUDA_ARCH__ >= 900  // elsewhere PrefillFits says no
  extern __shared__ uint8_t memory[];
  auto& shared = *reinterpret_cast<PrefillShared<kDim>*>(
      memory + (1024 - SharedAddress(memory) % 1024) % 1024);
  const int lane = threadIdx.x % 32, warp = static_cast<int>(threadIdx.x) / 32;
  bool found = false;
  if (warp == 0) {
    // The last tiles see most keys: begin with them.
    found = FindTile(call, static_cast<int32_t>(gridDim.x - 1 - blockIdx.x),
                     static_cast<int32_t>(blockIdx.y), lane, &shared.tile);
  } else if (threadIdx.x == 32) {
    for (int stage = 0; stage < kStages; ++stage) {
      InitBarrier(SharedAddress(&shared.k_full[stage]), 1);
      InitBarrier(SharedAddress(&shared.v_full[stage]), 1);
      InitBarrier(SharedAddress(&shared.k_empty[stage]), kConsumers / 32);
      InitBarrier(SharedAddress(&shared.v_empty[stage]), kConsumers / 32);
    }
    InitBarrier(SharedAddress(&shared.ran), kConsumers / 32 + kLoaderWarps);
    shared.asked_again = 0;
    FenceAsyncProxy();
  }
  if (__syncthreads_or(found) == 0) return;
  if (threadIdx.x >= kConsumers) {
    GiveRegisters<40>();
    const int loader = warp - kConsumers / 32;
    if (loader < kLoaderWarps) LoadAll(call, maps, shared, loader == 1, lane);
  } else {
    TakeRegisters<232>();
    Compute<kDim>(call, shared, static_cast<int>(threadIdx.x));
  }
#endif
}

template <int kDim>
cudaError_t Launch(const AttentionCall& call, const PrefillMaps& maps, int64_t tiles,
                   cudaStream_t stream) {
  constexpr int kBytes = static_cast<int>(sizeof(PrefillShared<kDim>)) + 1024;
  static const cudaError_t allowed = cudaFuncSetAttribute(
      PrefillKernel<kDim>, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (allowed != cudaSuccess) return allowed;
  const dim3 grid(static_cast<unsigned>(tiles), static_cast<unsigned>(call.kv_heads));
  PrefillKernel<kDim><<<grid, kConsumers + kGroupThreads, kBytes, stream>>>(call, maps);
  return cudaGetLastError();
}

}  // namespace

bool PrefillFits(const AttentionCall& call) {
  return ComputeCapabilityMajor() == 9 &&
         (call.head_dim == 64 || call.head_dim == 96 || call.head_dim == 128) &&
         call.tables.page_tokens % kBoxKeys == 0 && call.heads / call.kv_heads <= kRows;
}

int64_t PrefillTiles(int64_t length, int64_t group) {
  const int64_t tokens = kRows / group;
  return (length + tokens - 1) / tokens;
}

cudaError_t LaunchPrefill(const AttentionCall& call, int64_t tiles, cudaStream_t stream) {
  if (tiles == 0) return cudaSuccess;
  PrefillMaps maps;
  const cudaError_t error = MakePrefillMaps(call, &maps);
  if (error != cudaSuccess) return error;
  switch (call.head_dim) {
    case 64:
      return Launch<64>(call, maps, tiles, stream);
    case 96:
      return Launch<96>(call, maps, tiles, stream);
    default:
      return Launch<128>(call, maps, tiles, stream);
  }
}

}  // namespace headgate
