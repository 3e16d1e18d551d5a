// Sums over ranks by PeerGroup and by NCCL, in CUDA graphs. Every rank makes the same calls; one
// thread each.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "worker/collective/collective.h"
#include "worker/cuda/device/device_buffer.h"
#include "worker/cuda/group/nccl_group.h"
#include "worker/cuda/group/peer_group.h"

namespace headgate {

// Medians of one call among many back to back, microseconds.
struct PeerSumTimes {
  double fused_us = 0.0;      // PeerGroup: sum, residual, norm
  double plain_us = 0.0;      // PeerGroup: sum, residual
  double nccl_us = 0.0;       // NCCL's all-reduce alone
  double nccl_norm_us = 0.0;  // NCCL's all-reduce, then residual and norm in a kernel
};

class PeerBench {
 public:
  // Rows of `cols` bf16. UNIMPLEMENTED where PeerGroup is not possible.
  static absl::StatusOr<std::unique_ptr<PeerBench>> Create(Collective& peers, int64_t rows_max,
                                                           int64_t cols);
  ~PeerBench();
  PeerBench(const PeerBench&) = delete;
  PeerBench& operator=(const PeerBench&) = delete;

  absl::StatusOr<PeerSumTimes> Measure(int64_t rows);

 private:
  PeerBench(Collective& peers, cudaStream_t stream, int64_t cols)
      : peers_(peers), stream_(stream), cols_(cols) {}
  absl::Status Allocate(int64_t rows_max);
  template <typename Call>
  absl::StatusOr<double> MedianUs(const Call& call);

  Collective& peers_;
  const cudaStream_t stream_;
  const int64_t cols_;
  CudaBuffer residual_;
  CudaBuffer delta_;
  CudaBuffer weight_;
  CudaBuffer out_;
  CudaBuffer inbox_;
  std::unique_ptr<PeerGroup> group_;
  std::unique_ptr<NcclGroup> nccl_;
};

}  // namespace headgate
