// Columns of the ranks of one machine side by side. Asynchronous on `stream`; a launch error is
// what cudaGetLastError says.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "worker/cuda/group/peer_view.h"

namespace headgate {

// out := the ranks' columns, rank 0's first; NaN where a peer is lost. REQUIRES: all ranks call it
// with the same shape, cols % 4 == 0, rows * cols / 4 <= cells_max.
//                                                    own [rows, cols], out [rows, ranks * cols]
void LaunchGatherColumns(const PeerView& peers, const float* own, int64_t rows, int64_t cols,
                         float* out, cudaStream_t stream);

}  // namespace headgate
