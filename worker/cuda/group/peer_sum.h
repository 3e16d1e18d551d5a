// Sums over the ranks of one machine. Asynchronous on `stream`; a launch error is what
// cudaGetLastError says.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "worker/cuda/device/arrival.h"
#include "worker/cuda/group/peer_view.h"

namespace headgate {

inline constexpr int64_t kCellValues = kCellBytes / 2;  // bf16; what a thread handles
inline constexpr int64_t kPeerColsMax = 8192;

// residual += sum of delta over the ranks; out = RmsNorm(residual, eps) * weight. REQUIRES: all
// ranks call it with the same shape, cols % 8 == 0, cols <= kPeerColsMax, rows * cols / 8 <=
// cells_max.                                            residual, delta, out [rows, cols]
void LaunchSumAddRmsNorm(const PeerView& peers, float* residual, const __nv_bfloat16* delta,
                         const float* weight, float eps, int64_t rows, int64_t cols,
                         __nv_bfloat16* out, cudaStream_t stream);
// The same without a norm; any number of columns with rows * cols % 8 == 0.
void LaunchSumAdd(const PeerView& peers, float* residual, const __nv_bfloat16* delta, int64_t rows,
                  int64_t cols, cudaStream_t stream);

}  // namespace headgate
