#include <cstdint>
#include <cstdlib>

#include "tests/kernel/poison_shared.h"
#include "worker/cuda/device/async_copy.cuh"
#include "worker/cuda/device/cuda_status.h"

namespace headgate {
namespace {

__global__ void PoisonKernel(int bytes) {
  extern __shared__ uint8_t memory[];
  const uint32_t at = SharedAddress(memory);
  for (int i = static_cast<int>(threadIdx.x) * 4; i < bytes;
       i += static_cast<int>(blockDim.x) * 4) {
    asm volatile("st.shared.u32 [%0], %1;" ::"r"(at + i), "r"(~0u) : "memory");
  }
}

}  // namespace

void PoisonSharedMemory() {
  if (std::getenv("HEADGATE_TEST_NO_POISON") != nullptr) return;
  int device = 0, bytes = 0, processors = 0;
  CudaCheck(cudaGetDevice(&device), "asking for the GPU");
  CudaCheck(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
            "asking for shared memory");
  CudaCheck(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device),
            "asking for multiprocessors");
  CudaCheck(cudaFuncSetAttribute(PoisonKernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
            "asking for all shared memory");
  // A block has a multiprocessor for itself; several rounds, so that none goes without.
  PoisonKernel<<<static_cast<unsigned>(4 * processors), 1024, static_cast<size_t>(bytes)>>>(bytes);
  CudaCheck(cudaGetLastError(), "poisoning shared memory");
  CudaCheck(cudaDeviceSynchronize(), "poisoning shared memory");
}

}  // namespace headgate
