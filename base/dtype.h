// Number formats of weights, pages and activations.
#pragma once

#include <cstdint>
#include <string_view>

namespace headgate {

enum class DType : uint8_t { kF32, kF16, kBF16 };

constexpr int64_t DTypeBytes(DType dtype) { return dtype == DType::kF32 ? 4 : 2; }

constexpr std::string_view DTypeName(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "fp32";
    case DType::kF16:
      return "fp16";
    case DType::kBF16:
      return "bf16";
  }
  return "?";
}

}  // namespace headgate
