// Sums and gathers over ranks by direct stores into the peers' memory (NVLink, or PCIe where the
// GPUs can do that), beside NcclGroup. One step thread per rank; all ranks make the same calls.
// Calls may be captured in a CUDA graph and replayed. Times beside NCCL's: docs/gpu.md.
//
// A peer that dies: a kernel waits `timeout` for it, then writes its rank into host memory and goes
// on with NaN; kernels after it do not wait any more, so that the step ends and the host is woken.
// Check then says UNAVAILABLE for good. REQUIRES: the host calls it before it uses what a step
// computed; on an error the worker logs the status and ends, as after any error of a Collective.
// That is the last resort: a supervisor that sees the peer's process end, or whose watchdog finds a
// step too old (10 s unless told otherwise), kills the group before.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <memory>
#include <span>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "worker/collective/collective.h"
#include "worker/cuda/device/device_buffer.h"
#include "worker/cuda/group/peer_view.h"
#include "worker/tensor.h"

namespace headgate {

struct PeerGroupOptions {
  // Device memory for what arrives. A call for which a rank sends more than half of it is made in
  // several kernels, of some rows each.
  int64_t inbox_bytes = int64_t{16} << 20;
  // What a rank of three or more may send for one sum, to all peers together. Here a value crosses
  // a link once per peer, with NCCL about twice: larger sums are NCCL's. Two ranks sum any size
  // here.
  int64_t sum_sent_bytes_max = int64_t{4} << 20;
  absl::Duration timeout = absl::Seconds(30);  // for a peer to come to the same call
};

class PeerGroup {
 public:
  // Maps the peers' memory; the addresses travel over `peers`. UNIMPLEMENTED, on every rank, when
  // ranks are threads, on several machines, more than 8, or some pair of GPUs has no peer access:
  // all is NCCL's then. Otherwise the errors of `peers`. Uses the GPU that is current.
  // `inbox` is device memory where the peers' values arrive, made here when it is too small. It
  // must live as long as the process uses the GPU: a peer may still write there what it had queued
  // when this group ended. One inbox serves one group after the other.
  static absl::StatusOr<std::unique_ptr<PeerGroup>> Meet(Collective& peers, cudaStream_t stream,
                                                         CudaBuffer& inbox,
                                                         const PeerGroupOptions& options = {});
  // Waits for the stream.
  ~PeerGroup();
  PeerGroup(const PeerGroup&) = delete;
  PeerGroup& operator=(const PeerGroup&) = delete;

  // Whether SumAddRmsNorm and SumAdd can sum `delta`; the same answer on every rank.
  bool Takes(Tensor delta) const;
  // residual += sum of delta over the ranks, added up in fp32 in the order of ranks: the same bits
  // on every rank. out = RmsNorm(residual) * weight. Asynchronous. REQUIRES: Takes(delta).
  // Errors: as Check.                       residual fp32, delta and out bf16, all [rows, cols]
  absl::Status SumAddRmsNorm(Tensor residual, Tensor delta, std::span<const float> weight,
                             float eps, Tensor out);
  // The same without a norm.
  absl::Status SumAdd(Tensor residual, Tensor delta);
  // Whether GatherColumns can do it; the same answer on every rank.
  bool TakesColumns(Tensor own, std::span<const int64_t> widths) const;
  // out = the ranks' columns side by side, of which `widths` says how many each rank has.
  // Asynchronous. REQUIRES: TakesColumns(own, widths). Errors: as Check.
  //                                        fp32; own [rows, cols], out [rows, sum of widths]
  absl::Status GatherColumns(Tensor own, std::span<const int64_t> widths, Tensor out);
  // UNAVAILABLE when a peer did not come, as far as kernels have said so until now.
  absl::Status Check() const;
  // Kernels that wait for a peer end at once, what they wait for is NaN: the group is over.
  void StopWaiting();

 private:
  PeerGroup(cudaStream_t stream, CudaBuffer& inbox, const PeerGroupOptions& options)
      : stream_(stream), options_(options), inbox_(inbox) {}
  absl::Status Allocate(int rank, int ranks);
  absl::Status Empty();
  // Whether a row of so many bytes, that every rank sends, goes through the inbox.
  bool HasRoomFor(int64_t row_bytes) const;
  // Calls use(first row, rows) for the slices that the inbox holds, in order.
  void InSlices(int64_t rows, int64_t row_bytes,
                absl::FunctionRef<void(int64_t, int64_t)> use) const;
  absl::Status Map(int peer, const cudaIpcMemHandle_t& inbox);

  const cudaStream_t stream_;
  const PeerGroupOptions options_;
  CudaBuffer& inbox_;
  CudaBuffer turns_;
  CudaBuffer lost_;
  PeerView view_;
};

}  // namespace headgate
