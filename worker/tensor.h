// Views of a device's memory. Plain data.
#pragma once

#include <cstdint>

#include "base/dtype.h"

namespace headgate {

// What activations are for. A device may keep operands of multiplications in a narrower type (the
// CPU: fp32, CUDA: bf16); sums over layers and logits are fp32 everywhere.
enum class TensorUse : uint8_t { kSum, kOperand };

// A dense row-major view of device memory. Does not own it.
struct Tensor {
  void* data = nullptr;
  DType dtype = DType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;

  Tensor Rows(int64_t count) const { return {data, dtype, count, cols}; }
  float* f32() const { return static_cast<float*>(data); }
};

}  // namespace headgate
