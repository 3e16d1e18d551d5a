// Neighbouring values of a row as one access: 8 (16 bytes of bf16, 32 of fp32) or, for rows of
// other lengths, 1. Device code.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

namespace headgate {

template <int kWidth>
struct Values {
  static_assert(kWidth == 8 || kWidth == 1);
  float at[kWidth];
};

// Addresses are multiples of 16 bytes where kWidth is 8.
template <int kWidth>
__device__ __forceinline__ Values<kWidth> Load(const __nv_bfloat16* from) {
  if constexpr (kWidth == 1) {
    return {{__bfloat162float(*from)}};
  } else {
    const uint4 bits = *reinterpret_cast<const uint4*>(from);
    const uint32_t words[4] = {bits.x, bits.y, bits.z, bits.w};
    Values<kWidth> values;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      values.at[2 * i] = __uint_as_float(words[i] << 16);
      values.at[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
    }
    return values;
  }
}

template <int kWidth>
__device__ __forceinline__ Values<kWidth> Load(const float* from) {
  if constexpr (kWidth == 1) {
    return {{*from}};
  } else {
    const float4 low = *reinterpret_cast<const float4*>(from);
    const float4 high = *reinterpret_cast<const float4*>(from + 4);
    return {{low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w}};
  }
}

__device__ __forceinline__ uint4 Packed(const Values<8>& values) {
  uint32_t words[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(values.at[2 * i], values.at[2 * i + 1]);
    words[i] = *reinterpret_cast<const uint32_t*>(&pair);
  }
  return make_uint4(words[0], words[1], words[2], words[3]);
}

template <int kWidth>
__device__ __forceinline__ void Store(__nv_bfloat16* to, const Values<kWidth>& values) {
  if constexpr (kWidth == 1) {
    *to = __float2bfloat16(values.at[0]);
  } else {
    *reinterpret_cast<uint4*>(to) = Packed(values);
  }
}

// To global memory. For kernels in which the compiler makes four stores of the assignment above: as
// one instruction, whatever it thinks.
template <int kWidth>
__device__ __forceinline__ void StoreGlobal(__nv_bfloat16* to, const Values<kWidth>& values) {
  if constexpr (kWidth == 1) {
    *to = __float2bfloat16(values.at[0]);
  } else {
    const uint4 bits = Packed(values);
    asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)),
                 "r"(bits.x), "r"(bits.y), "r"(bits.z), "r"(bits.w)
                 : "memory");
  }
}

template <int kWidth>
__device__ __forceinline__ void Store(float* to, const Values<kWidth>& values) {
  const float* v = values.at;
  if constexpr (kWidth == 1) {
    *to = v[0];
  } else {
    *reinterpret_cast<float4*>(to) = make_float4(v[0], v[1], v[2], v[3]);
    *reinterpret_cast<float4*>(to + 4) = make_float4(v[4], v[5], v[6], v[7]);
  }
}

}  // namespace headgate
