#include <cuda_fp16.h>

#include "worker/cuda/weights/convert.h"

namespace headgate {
namespace {

constexpr int kThreads = 256;

__device__ float ToFloat(float value) { return value; }
__device__ float ToFloat(__half value) { return __half2float(value); }
__device__ float ToFloat(__nv_bfloat16 value) { return __bfloat162float(value); }

template <typename T>
__global__ void ToBf16Kernel(const T* values, int64_t count, __nv_bfloat16* out) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x; i < count;
       i += stride) {
    out[i] = __float2bfloat16(ToFloat(values[i]));
  }
}

}  // namespace

void LaunchToBf16(const void* values, DType dtype, int64_t count, __nv_bfloat16* out,
                  cudaStream_t stream) {
  if (count == 0) return;
  const unsigned blocks = 1024;
  switch (dtype) {
    case DType::kF32:
      ToBf16Kernel<<<blocks, kThreads, 0, stream>>>(static_cast<const float*>(values), count, out);
      return;
    case DType::kF16:
      ToBf16Kernel<<<blocks, kThreads, 0, stream>>>(static_cast<const __half*>(values), count, out);
      return;
    case DType::kBF16:
      ToBf16Kernel<<<blocks, kThreads, 0, stream>>>(static_cast<const __nv_bfloat16*>(values),
                                                    count, out);
      return;
  }
}

}  // namespace headgate
