// The gate of an MLP. Every kernel that applies it does it by this: the same bits. Device code.
#pragma once

#include <cuda_bf16.h>

namespace headgate {

// silu(gate) * up. The quick division is two units of fp32's last place off at most, far below what
// bf16 holds; the exact one took half of a kernel's instructions.
__device__ __forceinline__ float SiluMul(float gate, float up) {
  return __fdividef(gate, 1.0f + __expf(-gate)) * up;
}

// The same of a product's sums, which a kernel of its own would have rounded before.
__device__ __forceinline__ float SiluMulOfSums(float gate, float up) {
  return SiluMul(__bfloat162float(__float2bfloat16(gate)), __bfloat162float(__float2bfloat16(up)));
}

}  // namespace headgate
