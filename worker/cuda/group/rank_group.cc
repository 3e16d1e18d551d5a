#include "worker/cuda/group/rank_group.h"

#include <spdlog/spdlog.h>

#include <string>
#include <utility>

#include "base/status_macros.h"
#include "worker/cuda/device/cuda_status.h"
#include "worker/cuda/rows/row_ops.h"

namespace headgate {

absl::StatusOr<std::unique_ptr<RankGroup>> RankGroup::Meet(Collective& peers, cudaStream_t stream,
                                                           CudaBuffer& inbox) {
  ASSIGN_OR_RETURN(std::unique_ptr<NcclGroup> nccl, NcclGroup::Meet(peers, stream));
  absl::StatusOr<std::unique_ptr<PeerGroup>> near = PeerGroup::Meet(peers, stream, inbox);
  if (absl::IsUnimplemented(near.status())) {
    spdlog::info("cuda: sums and logits go through NCCL: {}", std::string(near.status().message()));
    near = nullptr;
  }
  RETURN_IF_ERROR(near.status());
  return std::unique_ptr<RankGroup>(new RankGroup(std::move(nccl), *std::move(near), stream));
}

// A call that waits must end before NCCL's kernels behind it can see that they are called off.
RankGroup::~RankGroup() {
  if (near_ != nullptr) near_->StopWaiting();
}

absl::Status RankGroup::SumAddRmsNorm(Tensor residual, Tensor delta, std::span<const float> weight,
                                      float eps, Tensor out) {
  if (near_ != nullptr && near_->Takes(delta)) {
    return near_->SumAddRmsNorm(residual, delta, weight, eps, out);
  }
  RETURN_IF_ERROR(nccl_->AllReduceSum(delta));
  LaunchRmsNorm(residual.f32(), static_cast<const __nv_bfloat16*>(delta.data), weight.data(), eps,
                residual.rows, residual.cols, static_cast<__nv_bfloat16*>(out.data), stream_);
  CudaCheck(cudaGetLastError(), "SumAddRmsNorm");
  return absl::OkStatus();
}

absl::Status RankGroup::SumAdd(Tensor residual, Tensor delta) {
  if (near_ != nullptr && near_->Takes(delta)) return near_->SumAdd(residual, delta);
  RETURN_IF_ERROR(nccl_->AllReduceSum(delta));
  LaunchAdd(residual.f32(), static_cast<const __nv_bfloat16*>(delta.data), residual.rows,
            residual.cols, stream_);
  CudaCheck(cudaGetLastError(), "SumAdd");
  return absl::OkStatus();
}

absl::Status RankGroup::GatherColumns(Tensor own, std::span<const int64_t> widths, Tensor parts,
                                      Tensor out) {
  if (near_ != nullptr && near_->TakesColumns(own, widths)) {
    return near_->GatherColumns(own, widths, out);
  }
  return nccl_->GatherColumns(own, widths, parts, out);
}

absl::Status RankGroup::Check() const {
  if (near_ != nullptr) RETURN_IF_ERROR(near_->Check());
  return nccl_->Check();
}

}  // namespace headgate
