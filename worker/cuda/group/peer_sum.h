// Kernels that sum over the ranks of one machine in one shot: each rank writes its values into the
// others' memory and adds up what arrives (NVIDIA TensorRT-LLM's "Lamport" all-reduce has this
// form). Which memory that is: peer_group.h. Asynchronous on `stream`; a launch error is what
// cudaGetLastError says.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace headgate {

inline constexpr int kPeersMax = 8;
inline constexpr int64_t kCellValues = 8;  // bf16; 16 bytes, what a thread handles
inline constexpr int64_t kPeerColsMax = 8192;
inline constexpr uint32_t kEmptyWord = 0xffffffffu;  // of an inbox: nothing has arrived

// What a rank's kernels work on. Every rank has an inbox [2][ranks - 1][cells_max] of 16-byte
// cells, kEmptyWord everywhere at first: parity, sender among the others, cell.
struct PeerView {
  uint4* inbox[kPeersMax] = {};  // by rank, as mapped here
  uint8_t* turns = nullptr;      // [cells_max], ours: the parity that cell i takes next; 0 at first
  uint32_t* lost = nullptr;      // host memory: 1 + a rank that did not answer; 0 at first
  int64_t cells_max = 0;
  int64_t wait_ns_max = 0;  // for one answer
  int32_t rank = 0;
  int32_t ranks = 0;
  int32_t multiprocessors = 0;
};

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
