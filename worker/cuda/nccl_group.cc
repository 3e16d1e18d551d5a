#include "worker/cuda/nccl_group.h"

#include <span>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

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

absl::Status NcclGroup::AllReduceSum(Tensor values) {
  ncclResult_t state = ncclSuccess;
  RETURN_IF_ERROR(NcclStatus(ncclCommGetAsyncError(comm_, &state), "asking for errors"));
  RETURN_IF_ERROR(NcclStatus(state, "a peer is gone"));
  const ncclDataType_t type = values.dtype == DType::kF32 ? ncclFloat32 : ncclBfloat16;
  return NcclStatus(
      ncclAllReduce(values.data, values.data, static_cast<size_t>(values.rows * values.cols), type,
                    ncclSum, comm_, stream_),
      "summing over ranks");
}

}  // namespace headgate
