#include "worker/cuda/matmul.h"

#include <utility>

#include "base/status_macros.h"
#include "worker/cuda/cuda_status.h"

namespace headgate {

absl::StatusOr<std::unique_ptr<MatrixProducts>> MatrixProducts::Create() {
  ASSIGN_OR_RETURN(std::unique_ptr<LtMatMul> large, LtMatMul::Create());
  return std::unique_ptr<MatrixProducts>(new MatrixProducts(std::move(large)));
}

void MatrixProducts::Run(const MatMulCall& call, cudaStream_t stream) {
  if (!small_.Run(call, stream)) large_->Run(call, stream);
  CudaCheck(cudaGetLastError(), "multiplying matrices");
}

}  // namespace headgate
