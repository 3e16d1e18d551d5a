// Blocks of a cluster and each other's shared memory (PTX ISA 8.0, "barrier.cluster", "mapa").
// Device code for compute capability 9.0.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace headgate {

#if __CUDA_ARCH__ >= 900

// Of all threads of the cluster's blocks: what they wrote to shared memory before it is visible
// after it.
__device__ __forceinline__ void SyncCluster() {
  asm volatile(
      "barrier.cluster.arrive.release.aligned;\n"
      "barrier.cluster.wait.acquire.aligned;" ::
          : "memory");
}

// The same, but nothing becomes visible and nothing is ordered: for values that have been read and
// used before it, so that no block leaves too early. (Making writes visible waits for all of the
// thread's stores to global memory too.)
__device__ __forceinline__ void AwaitCluster() {
  asm volatile(
      "barrier.cluster.arrive.relaxed.aligned;\n"
      "barrier.cluster.wait.aligned;" ::
          : "memory");
}

// From the shared memory of block `rank` of the cluster: what lies there where `at` is in this
// block's.
__device__ __forceinline__ float4 LoadOfBlock(uint32_t at, uint32_t rank) {
  float4 value;
  asm volatile(
      "{\n.reg .b32 there;\nmapa.shared::cluster.u32 there, %4, %5;\n"
      "ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [there];\n}\n"
      : "=f"(value.x), "=f"(value.y), "=f"(value.z), "=f"(value.w)
      : "r"(at), "r"(rank)
      : "memory");
  return value;
}

#endif

}  // namespace headgate
