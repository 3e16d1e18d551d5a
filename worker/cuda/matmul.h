// Matrix products by cuBLASLt: out = x w^T. One thread.
#pragma once

#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <map>
#include <memory>
#include <tuple>

#include "absl/status/statusor.h"
#include "base/dtype.h"
#include "worker/cuda/device_buffer.h"

namespace headgate {

class MatMulPlans {
 public:
  static absl::StatusOr<std::unique_ptr<MatMulPlans>> Create();
  ~MatMulPlans();
  MatMulPlans(const MatMulPlans&) = delete;
  MatMulPlans& operator=(const MatMulPlans&) = delete;

  // x [m, k] bf16, w [n, k] bf16, out [m, n] bf16 or fp32; all row-major without gaps, fp32 sums.
  // Asynchronous. An error ends the process (cuda_status.h). The first call of a shape asks
  // cuBLASLt's heuristic for an algorithm (some 0.1 ms on the host).
  void Run(const __nv_bfloat16* x, const __nv_bfloat16* w, int64_t m, int64_t n, int64_t k,
           void* out, DType out_dtype, cudaStream_t stream);

 private:
  struct Plan;
  using Shape = std::tuple<int64_t, int64_t, int64_t, DType>;  // m, n, k, out

  MatMulPlans(cublasLtHandle_t handle, CudaBuffer workspace);
  Plan& PlanFor(const Shape& shape);

  const cublasLtHandle_t handle_;
  const CudaBuffer workspace_;
  std::map<Shape, std::unique_ptr<Plan>> plans_;
};

}  // namespace headgate
