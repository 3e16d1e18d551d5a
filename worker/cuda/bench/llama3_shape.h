// Llama 3 8B, as measurements of its kernels take it.
#pragma once

#include <cstdint>

namespace headgate::llama3 {

inline constexpr int64_t kHidden = 4096;
inline constexpr int64_t kInner = 14336;
inline constexpr int64_t kHeads = 32;
inline constexpr int64_t kKvHeads = 8;
inline constexpr int64_t kHeadDim = 128;
inline constexpr int64_t kQkv = (kHeads + 2 * kKvHeads) * kHeadDim;
inline constexpr float kEps = 1e-5f;

}  // namespace headgate::llama3
