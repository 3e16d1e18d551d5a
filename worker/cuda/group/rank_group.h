// What the ranks of a group do together on their GPUs: sums and gathers by direct stores where
// those are fast and possible (PeerGroup), all else by NCCL. One step thread per rank; all ranks
// make the same calls, which may be captured in a CUDA graph.
#pragma once

#include <cuda_runtime.h>

#include <memory>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/collective/collective.h"
#include "worker/cuda/group/nccl_group.h"
#include "worker/cuda/group/peer_group.h"
#include "worker/tensor.h"

namespace headgate {

class RankGroup {
 public:
  // Meets the peers: what is needed travels over `peers`. UNAVAILABLE when one is gone.
  // `inbox`: see PeerGroup::Meet.
  static absl::StatusOr<std::unique_ptr<RankGroup>> Meet(Collective& peers, cudaStream_t stream,
                                                         CudaBuffer& inbox);
  // Does not wait for peers: what is queued ends, its results mean nothing.
  ~RankGroup();
  RankGroup(const RankGroup&) = delete;
  RankGroup& operator=(const RankGroup&) = delete;

  // Backend's operations of these names. Asynchronous. UNAVAILABLE when a peer is gone, as far as
  // is known at this time.
  absl::Status SumAddRmsNorm(Tensor residual, Tensor delta, std::span<const float> weight,
                             float eps, Tensor out);
  absl::Status SumAdd(Tensor residual, Tensor delta);
  // As NcclGroup::GatherColumns, which alone needs `parts`.
  absl::Status GatherColumns(Tensor own, std::span<const int64_t> widths, Tensor parts, Tensor out);
  // UNAVAILABLE when a peer is gone: to be asked before what a step computed is used.
  absl::Status Check() const;

 private:
  RankGroup(std::unique_ptr<NcclGroup> nccl, std::unique_ptr<PeerGroup> near, cudaStream_t stream)
      : near_(std::move(near)), nccl_(std::move(nccl)), stream_(stream) {}

  const std::unique_ptr<PeerGroup> near_;  // null: not all ranks reach each other's memory
  const std::unique_ptr<NcclGroup> nccl_;  // ends first: near_ waits for the stream
  const cudaStream_t stream_;
};

}  // namespace headgate
