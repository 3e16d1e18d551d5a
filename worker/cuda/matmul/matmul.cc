#include "worker/cuda/matmul/matmul.h"

#include <utility>

#include "base/status_macros.h"
#include "worker/cuda/device/cuda_status.h"
#include "worker/cuda/matmul/algorithm_choice.h"
#include "worker/cuda/rows/row_ops.h"

namespace headgate {

absl::StatusOr<std::unique_ptr<MatrixProducts>> MatrixProducts::Create() {
  ASSIGN_OR_RETURN(std::unique_ptr<LtMatMul> large, LtMatMul::Create());
  return std::unique_ptr<MatrixProducts>(new MatrixProducts(std::move(large)));
}

absl::Status MatrixProducts::Prepare(const MatMulCall& call, cudaStream_t stream) {
  return ChooseAlgorithms(*large_, call, medium_.RowsMax(call), stream);
}

void MatrixProducts::Run(const MatMulCall& call, cudaStream_t stream) {
  if (!small_.Run(call, stream) && !medium_.Run(call, stream)) RunInParts(call, stream);
  CudaCheck(cudaGetLastError(), "multiplying matrices");
}

void MatrixProducts::RunInParts(MatMulCall call, cudaStream_t stream) {
  if (!call.gated) {
    large_->Run(call, stream);
    return;
  }
  auto* out = static_cast<__nv_bfloat16*>(call.out);
  call.out = call.scratch;
  call.gated = false;
  large_->Run(call, stream);
  LaunchSiluMul(call.scratch, call.m, call.n / 2, out, stream);
}

}  // namespace headgate
