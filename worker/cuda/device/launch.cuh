// Launches that overlap: a kernel may start while the one before it in the stream still runs
// (NVIDIA: programmatic dependent launch, compute capability 9.0). It then prepares what depends on
// constants only, or on what was complete before the step's first kernel, and waits before it
// touches anything that a step computes.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <utility>

namespace headgate {

// Until everything before this kernel in the stream is done and visible. A kernel launched by
// LaunchOverlapping calls it in every thread that reads or writes what steps compute: its end then
// says that all kernels before it have ended.
__device__ __forceinline__ void AwaitEarlierKernels() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// The next kernel may start as soon as every block of this one has called this or ended.
__device__ __forceinline__ void LetNextKernelStart() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

// How many blocks (warps) hold `items`, `each` in one.
inline int64_t Cover(int64_t items, int64_t each) { return (items + each - 1) / each; }

// Of the process's GPU; asked for once.
inline int ComputeCapabilityMajor() {
  static const int major = [] {
    int device = 0, value = 0;
    cudaGetDevice(&device);
    cudaDeviceGetAttribute(&value, cudaDevAttrComputeCapabilityMajor, device);
    return value;
  }();
  return major;
}

// The error stays for cudaGetLastError.
template <typename... Parameters, typename... Arguments>
void LaunchOverlapping(void (*kernel)(Parameters...), dim3 blocks, dim3 threads,
                       size_t shared_bytes, cudaStream_t stream, Arguments&&... arguments) {
  cudaLaunchAttribute overlap = {};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = blocks;
  config.blockDim = threads;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  config.attrs = &overlap;
  config.numAttrs = ComputeCapabilityMajor() >= 9 ? 1 : 0;
  cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...);
}

}  // namespace headgate
