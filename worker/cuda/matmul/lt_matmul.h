// Matrix products by cuBLASLt, of any size. One thread.
#pragma once

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/dtype.h"
#include "base/step.h"
#include "worker/cuda/device/device_buffer.h"
#include "worker/cuda/matmul/matmul_call.h"

namespace headgate {

// One of the ways to compute products of one shape.
struct LtAlgorithm {
  cublasLtMatmulAlgo_t algorithm = {};
  int64_t workspace_bytes = 0;
  bool taken = false;  // by Run
};

class LtMatMul {
 public:
  // UNAVAILABLE without the library.
  static absl::StatusOr<std::unique_ptr<LtMatMul>> Create();
  ~LtMatMul();
  LtMatMul(const LtMatMul&) = delete;
  LtMatMul& operator=(const LtMatMul&) = delete;

  // fp32 sums. Asynchronous. An error ends the process (cuda_status.h). The first call of a shape
  // that nothing was preferred for asks cuBLASLt's heuristic (some 0.1 ms on the host).
  void Run(const MatMulCall& call, cudaStream_t stream);

  // Run takes the algorithm for products like this call's of as many rows, and of fewer down to the
  // next number that has one, where cuBLASLt accepts it.
  void Prefer(const LtAlgorithm& algorithm, const MatMulCall& call);
  bool HasPreferred(const MatMulCall& call) const;

  // Shapes that have an algorithm; at the limit all are forgotten.
  QueueStats Stats() const { return {"matmul_plans", plans_.size(), kPlansMax}; }

  // The first `count` algorithms that the heuristic offers for products of the call's shape, its
  // favourite first.
  std::vector<LtAlgorithm> Algorithms(const MatMulCall& call, int count);
  // As Run, without a bias, by an algorithm offered for this shape. UNAVAILABLE: cuBLASLt refuses.
  absl::Status RunBy(const LtAlgorithm& algorithm, const MatMulCall& call, cudaStream_t stream);

 private:
  static constexpr size_t kPlansMax = 4096;  // m takes as many values as a step has rows

  struct Plan;
  using Shape = std::tuple<int64_t, int64_t, int64_t, DType>;  // m, n, k, out
  using Matrix = std::tuple<int64_t, int64_t, DType>;          // n, k, out

  LtMatMul(cublasLtHandle_t handle, CudaBuffer workspace);
  Plan& PlanFor(const MatMulCall& call);
  static std::unique_ptr<Plan> Describe(const Shape& shape);
  cublasLtMatmulAlgo_t Favourite(const Plan& plan) const;  // the heuristic's
  std::optional<cublasLtMatmulAlgo_t> PreferredFor(const Plan& plan, const MatMulCall& call) const;
  std::vector<cublasLtMatmulHeuristicResult_t> Ask(const Plan& plan, int count) const;
  cublasStatus_t Multiply(const Plan& plan, const cublasLtMatmulAlgo_t& algorithm,
                          const MatMulCall& call, cudaStream_t stream) const;

  const cublasLtHandle_t handle_;
  const CudaBuffer workspace_;
  std::map<Shape, std::unique_ptr<Plan>> plans_;
  std::map<Matrix, std::map<int64_t, cublasLtMatmulAlgo_t>> preferred_;  // by rows
};

}  // namespace headgate
