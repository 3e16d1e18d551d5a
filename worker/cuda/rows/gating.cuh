// The gate of an MLP. Every kernel that applies it does it by this: the same bits. Device code.
#pragma once

namespace headgate {

// silu(gate) * up
__device__ __forceinline__ float SiluMul(float gate, float up) {
  return gate / (1.0f + __expf(-gate)) * up;
}

}  // namespace headgate
