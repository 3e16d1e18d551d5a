// One matrix product: out = x w^T (+ bias). All row-major without gaps, in device memory.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "base/dtype.h"

namespace headgate {

struct MatMulCall {
  const __nv_bfloat16* x = nullptr;  // [m, k]
  const __nv_bfloat16* w = nullptr;  // [n, k]
  const float* bias = nullptr;       // [n] or null
  void* out = nullptr;               // [m, n]
  DType out_dtype = DType::kBF16;    // or kF32
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
};

}  // namespace headgate
