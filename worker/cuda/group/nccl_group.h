// The ranks' sums and gathered logits on the device by NCCL. One step thread per rank; all ranks
// make the same calls.
#pragma once

#include <cuda_runtime.h>
#include <nccl.h>

#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "worker/collective/collective.h"
#include "worker/tensor.h"

namespace headgate {

class NcclGroup {
 public:
  // Meets the peers: rank 0's id travels over `peers`. UNAVAILABLE when one is gone.
  static absl::StatusOr<std::unique_ptr<NcclGroup>> Meet(Collective& peers, cudaStream_t stream);
  ~NcclGroup();
  NcclGroup(const NcclGroup&) = delete;
  NcclGroup& operator=(const NcclGroup&) = delete;

  // values := sum over ranks, the same bits everywhere. Asynchronous. UNAVAILABLE when a peer is
  // gone, as far as is known at this time.
  absl::Status AllReduceSum(Tensor values);

  // out := the ranks' fp32 columns side by side. `widths`: every rank's columns; `own`: this
  // rank's; `parts`: scratch of the size of `out`. Asynchronous. Errors: as AllReduceSum. own
  // [rows, widths[rank]], out [rows, sum of widths]
  absl::Status GatherColumns(Tensor own, std::span<const int64_t> widths, Tensor parts, Tensor out);

  // UNAVAILABLE when a peer is gone, as far as is known at this time.
  absl::Status Check() const;

 private:
  NcclGroup(ncclComm_t comm, cudaStream_t stream) : comm_(comm), stream_(stream) {}

  const ncclComm_t comm_;
  const cudaStream_t stream_;
};

}  // namespace headgate
