// Decides who computes a matrix product and what belongs to it: a kernel for few rows in one go, or
// cuBLASLt with the gate after it. One thread.
#pragma once

#include <cuda_runtime.h>

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/cuda/matmul/lt_matmul.h"
#include "worker/cuda/matmul/matmul_call.h"
#include "worker/cuda/matmul/medium_matmul.h"
#include "worker/cuda/matmul/small_matmul.h"

namespace headgate {

class MatrixProducts {
 public:
  // For the current device. UNAVAILABLE without cuBLASLt.
  static absl::StatusOr<std::unique_ptr<MatrixProducts>> Create();

  // For start-up: finds out which algorithms are the fastest for products like this call's of up to
  // call.m rows. The host waits; `out` is spoilt. REQUIRES: not gated. RESOURCE_EXHAUSTED when
  // there is no memory.
  absl::Status Prepare(const MatMulCall& call, cudaStream_t stream);

  // Asynchronous. An error ends the process (cuda_status.h).
  void Run(const MatMulCall& call, cudaStream_t stream);

  QueueStats Stats() const { return large_->Stats(); }

 private:
  void RunInParts(MatMulCall call, cudaStream_t stream);

  explicit MatrixProducts(std::unique_ptr<LtMatMul> large) : large_(std::move(large)) {}

  const SmallMatMul small_;
  const MediumMatMul medium_;
  const std::unique_ptr<LtMatMul> large_;
};

}  // namespace headgate
