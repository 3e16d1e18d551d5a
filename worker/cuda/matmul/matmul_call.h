// One matrix product: out = x w^T (+ bias), and what may be done in the same kernel after it. All
// row-major without gaps, in device memory, at multiples of 16 bytes.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "base/dtype.h"

namespace headgate {

struct MatMulCall {
  const __nv_bfloat16* x = nullptr;  // [m, k]
  const __nv_bfloat16* w = nullptr;  // [n, k]
  const float* bias = nullptr;       // [n] or null
  void* out = nullptr;               // [m, n]; gated: [m, n / 2]
  DType out_dtype = DType::kBF16;    // or kF32
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
  // w has n / 2 rows of a gate, then as many others: out = silu(gate) * other, both rounded to bf16
  // first. REQUIRES: out_dtype kBF16, n even.
  bool gated = false;
  __nv_bfloat16* scratch = nullptr;  // gated: [m, n], for the sizes that take a kernel more
};

}  // namespace headgate
