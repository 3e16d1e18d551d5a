// Launches that overlap: a kernel may start while the one before it in the stream still runs
// (NVIDIA: programmatic dependent launch, compute capability 9.0). It then prepares what depends on
// constants only and waits before it touches anything that a step computes.
#pragma once

#include <cuda_runtime.h>

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

// `cluster`: blocks of a cluster; 0: none. The error stays for cudaGetLastError.
template <typename... Parameters, typename... Arguments>
void LaunchOverlapping(void (*kernel)(Parameters...), unsigned blocks, unsigned threads,
                       size_t shared_bytes, unsigned cluster, cudaStream_t stream,
                       Arguments&&... arguments) {
  int device = 0, major = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  cudaLaunchAttribute attributes[2] = {};
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(blocks);
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  config.attrs = attributes;
  if (major >= 9) {
    attributes[config.numAttrs].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[config.numAttrs++].val.programmaticStreamSerializationAllowed = 1;
  }
  if (cluster > 0) {
    attributes[config.numAttrs].id = cudaLaunchAttributeClusterDimension;
    attributes[config.numAttrs].val.clusterDim.x = cluster;
    attributes[config.numAttrs].val.clusterDim.y = 1;
    attributes[config.numAttrs++].val.clusterDim.z = 1;
  }
  cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...);
}

}  // namespace headgate
