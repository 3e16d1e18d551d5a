// Matrix products by cuBLASLt, of any size. One thread.
#pragma once

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <map>
#include <memory>
#include <tuple>

#include "absl/status/statusor.h"
#include "base/dtype.h"
#include "base/step.h"
#include "worker/cuda/device/device_buffer.h"
#include "worker/cuda/matmul/matmul_call.h"

namespace headgate {

class LtMatMul {
 public:
  // UNAVAILABLE without the library.
  static absl::StatusOr<std::unique_ptr<LtMatMul>> Create();
  ~LtMatMul();
  LtMatMul(const LtMatMul&) = delete;
  LtMatMul& operator=(const LtMatMul&) = delete;

  // fp32 sums. Asynchronous. An error ends the process (cuda_status.h). The first call of a shape
  // asks cuBLASLt's heuristic for an algorithm (some 0.1 ms on the host).
  void Run(const MatMulCall& call, cudaStream_t stream);

  // Shapes that have an algorithm; at the limit all are forgotten.
  QueueStats Stats() const { return {"matmul_plans", plans_.size(), kPlansMax}; }

 private:
  static constexpr size_t kPlansMax = 4096;  // m takes as many values as a step has rows

  struct Plan;
  using Shape = std::tuple<int64_t, int64_t, int64_t, DType>;  // m, n, k, out

  LtMatMul(cublasLtHandle_t handle, CudaBuffer workspace);
  Plan& PlanFor(const Shape& shape);

  const cublasLtHandle_t handle_;
  const CudaBuffer workspace_;
  std::map<Shape, std::unique_ptr<Plan>> plans_;
};

}  // namespace headgate
