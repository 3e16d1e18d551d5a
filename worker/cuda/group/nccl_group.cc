#include "worker/cuda/group/nccl_group.h"

#include <span>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "worker/cuda/device/cuda_status.h"

namespace headgate {
namespace {

absl::Status NcclStatus(ncclResult_t result, const std::string& what) {
  if (result == ncclSuccess) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("nccl: ", what, ": ", ncclGetErrorString(result)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<NcclGroup>> NcclGroup::Meet(Collective& peers, cudaStream_t stream) {
  ncclUniqueId id = {};
  if (peers.rank() == 0) RETURN_IF_ERROR(NcclStatus(ncclGetUniqueId(&id), "making a group id"));
  RETURN_IF_ERROR(peers.Broadcast(std::as_writable_bytes(std::span(&id, 1))));
  ncclComm_t comm = nullptr;
  RETURN_IF_ERROR(
      NcclStatus(ncclCommInitRank(&comm, peers.size(), id, peers.rank()), "meeting the peers"));
  return std::unique_ptr<NcclGroup>(new NcclGroup(comm, stream));
}

// Abort, not Destroy: a peer may be dead, and Destroy would wait for it.
NcclGroup::~NcclGroup() { ncclCommAbort(comm_); }

absl::Status NcclGroup::Check() const {
  ncclResult_t state = ncclSuccess;
  RETURN_IF_ERROR(NcclStatus(ncclCommGetAsyncError(comm_, &state), "asking for errors"));
  return NcclStatus(state, "a peer is gone");
}

absl::Status NcclGroup::AllReduceSum(Tensor values) {
  RETURN_IF_ERROR(Check());
  const ncclDataType_t type = values.dtype == DType::kF32 ? ncclFloat32 : ncclBfloat16;
  return NcclStatus(
      ncclAllReduce(values.data, values.data, static_cast<size_t>(values.rows * values.cols), type,
                    ncclSum, comm_, stream_),
      "summing over ranks");
}

// A broadcast per rank: an all-gather wants parts of equal size.
absl::Status NcclGroup::GatherColumns(Tensor own, std::span<const int64_t> widths, Tensor parts,
                                      Tensor out) {
  RETURN_IF_ERROR(Check());
  float* to = out.rows == 1 ? out.f32() : parts.f32();
  RETURN_IF_ERROR(NcclStatus(ncclGroupStart(), "gathering logits"));
  int64_t begin = 0;
  ncclResult_t sent = ncclSuccess;
  for (size_t rank = 0; rank < widths.size() && sent == ncclSuccess; ++rank) {
    const int64_t count = out.rows * widths[rank];
    sent = ncclBroadcast(own.data, to + begin, static_cast<size_t>(count), ncclFloat32,
                         static_cast<int>(rank), comm_, stream_);
    begin += count;
  }
  const ncclResult_t ended = ncclGroupEnd();  // a group that began ends, whatever happened in it
  RETURN_IF_ERROR(NcclStatus(sent, "gathering logits"));
  RETURN_IF_ERROR(NcclStatus(ended, "gathering logits"));
  if (out.rows == 1) return absl::OkStatus();
  const float* part = to;
  float* column = out.f32();
  for (const int64_t width : widths) {
    const size_t bytes = static_cast<size_t>(width) * sizeof(float);
    CudaCheck(
        cudaMemcpy2DAsync(column, static_cast<size_t>(out.cols) * sizeof(float), part, bytes, bytes,
                          static_cast<size_t>(out.rows), cudaMemcpyDeviceToDevice, stream_),
        "gathering logits");
    part += out.rows * width;
    column += width;
  }
  return absl::OkStatus();
}

}  // namespace headgate
