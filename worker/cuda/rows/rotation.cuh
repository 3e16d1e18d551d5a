// Rotary position embedding of one pair of columns. Every kernel that rotates does it by this: the
// same bits wherever it is done. Device code.
#pragma once

namespace headgate {

// (low, high) turned by an angle.
__device__ __forceinline__ void Rotate(float& low, float& high, float cosine, float sine) {
  const float a = low, b = high;
  low = __fmaf_rn(a, cosine, -__fmul_rn(b, sine));
  high = __fmaf_rn(b, cosine, __fmul_rn(a, sine));
}

// Of a pair whose frequency is `inv_freq`.
__device__ inline void TurnOf(float position, float inv_freq, float* cosine, float* sine) {
  sincosf(position * inv_freq, sine, cosine);
}

}  // namespace headgate
