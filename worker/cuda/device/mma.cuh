// One warp's instructions that C++ has no name for: matrix products of fragments (PTX ISA,
// "mma.m16n8k16"), transposition, 16-byte loads, exp2. Device code.
#pragma once

#include <cuda_bf16.h>

#include <cstddef>
#include <cstdint>

namespace headgate {

// d += a b, bf16 with fp32 sums; a [16, 16], b [16, 8], d [16, 8]. With g = lane / 4, t = lane % 4:
//   a[0] (g, 2t..2t+1)  a[1] (g+8, 2t..)  a[2] (g, 2t+8..)  a[3] (g+8, 2t+8..)
//   b0 (2t..2t+1, g)    b1 (2t+8.., g)
//   d[0..1] (g, 2t..2t+1)                 d[2..3] (g+8, 2t..2t+1)
__device__ inline void MultiplyAdd(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t a2,
                                   uint32_t a3, uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
      "{%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// An 8 x 8 matrix of 16-bit values, lane (g, t) holding (g, 2t..2t+1), transposed.
__device__ inline uint32_t Transposed(uint32_t x) {
  uint32_t y;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(y) : "r"(x));
  return y;
}

__device__ inline uint32_t PackBf16(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

// Loads of data that is read once: not kept in L1. Volatile: they stay where they are written,
// ahead of the work that hides them.
__device__ inline void LoadOnce(uint32_t* to, const std::byte* from, uint4) {
  asm volatile("ld.global.L1::no_allocate.L2::128B.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "l"(from)
               : "memory");
}
__device__ inline void LoadOnce(uint32_t* to, const std::byte* from, uint2) {
  asm volatile("ld.global.L1::no_allocate.L2::128B.v2.u32 {%0,%1}, [%2];"
               : "=r"(to[0]), "=r"(to[1])
               : "l"(from)
               : "memory");
}

// 2^x; 0 for -infinity.
__device__ inline float Exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

}  // namespace headgate
