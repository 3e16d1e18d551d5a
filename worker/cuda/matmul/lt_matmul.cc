#include "worker/cuda/matmul/lt_matmul.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "worker/cuda/device/cuda_status.h"
#include "worker/cuda/rows/row_ops.h"

namespace headgate {
namespace {

constexpr int64_t kWorkspaceBytes = int64_t{32} << 20;  // what NVIDIA recommends for Hopper

// cuBLASLt reads row-major [rows, cols] as column-major [cols, rows].
cublasLtMatrixLayout_t Layout(cudaDataType_t type, int64_t rows, int64_t cols) {
  cublasLtMatrixLayout_t layout = nullptr;
  CHECK(cublasLtMatrixLayoutCreate(&layout, type, static_cast<uint64_t>(cols),
                                   static_cast<uint64_t>(rows), cols) == CUBLAS_STATUS_SUCCESS);
  return layout;
}

cudaError_t AsCuda(cublasStatus_t status) {
  if (status == CUBLAS_STATUS_SUCCESS) return cudaSuccess;
  const cudaError_t last = cudaGetLastError();
  return last != cudaSuccess ? last : cudaErrorUnknown;
}

}  // namespace

struct LtMatMul::Plan {
  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatrixLayout_t w = nullptr;
  cublasLtMatrixLayout_t x = nullptr;
  cublasLtMatrixLayout_t out = nullptr;
  cublasLtMatmulAlgo_t algorithm = {};

  Plan() = default;
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;
  ~Plan() {
    cublasLtMatmulDescDestroy(operation);
    for (const cublasLtMatrixLayout_t layout : {w, x, out}) cublasLtMatrixLayoutDestroy(layout);
  }
};

LtMatMul::LtMatMul(cublasLtHandle_t handle, CudaBuffer workspace)
    : handle_(handle), workspace_(std::move(workspace)) {}

LtMatMul::~LtMatMul() {
  plans_.clear();
  cublasLtDestroy(handle_);
}

absl::StatusOr<std::unique_ptr<LtMatMul>> LtMatMul::Create() {
  ASSIGN_OR_RETURN(CudaBuffer workspace, CudaBuffer::Create(MemoryPlace::kDevice, kWorkspaceBytes));
  cublasLtHandle_t handle = nullptr;
  if (const cublasStatus_t status = cublasLtCreate(&handle); status != CUBLAS_STATUS_SUCCESS) {
    return absl::UnavailableError(absl::StrCat("cuda: cannot start cuBLASLt (status ",
                                               static_cast<int>(status),
                                               "); is libcublasLt in the library path?"));
  }
  return std::unique_ptr<LtMatMul>(new LtMatMul(handle, std::move(workspace)));
}

LtMatMul::Plan& LtMatMul::PlanFor(const Shape& shape) {
  std::unique_ptr<Plan>& entry = plans_[shape];
  if (entry != nullptr) return *entry;
  if (plans_.size() > kPlansMax) {
    plans_.clear();
    return PlanFor(shape);
  }
  const auto [m, n, k, out_dtype] = shape;
  auto plan = std::make_unique<Plan>();
  CHECK(cublasLtMatmulDescCreate(&plan->operation, CUBLAS_COMPUTE_32F, CUDA_R_32F) ==
        CUBLAS_STATUS_SUCCESS);
  const cublasOperation_t transpose = CUBLAS_OP_T;
  cublasLtMatmulDescSetAttribute(plan->operation, CUBLASLT_MATMUL_DESC_TRANSA, &transpose,
                                 sizeof(transpose));
  plan->w = Layout(CUDA_R_16BF, n, k);
  plan->x = Layout(CUDA_R_16BF, m, k);
  plan->out = Layout(out_dtype == DType::kF32 ? CUDA_R_32F : CUDA_R_16BF, m, n);
  cublasLtMatmulPreference_t preference = nullptr;
  CHECK(cublasLtMatmulPreferenceCreate(&preference) == CUBLAS_STATUS_SUCCESS);
  cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                       &kWorkspaceBytes, sizeof(kWorkspaceBytes));
  cublasLtMatmulHeuristicResult_t found = {};
  int count = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(handle_, plan->operation, plan->w, plan->x, plan->out,
                                     plan->out, preference, 1, &found, &count);
  cublasLtMatmulPreferenceDestroy(preference);
  CHECK(status == CUBLAS_STATUS_SUCCESS && count == 1)
      << "cuBLASLt has no algorithm for " << m << " x " << n << " x " << k << ": "
      << "status " << static_cast<int>(status);
  plan->algorithm = found.algo;
  entry = std::move(plan);
  return *entry;
}

void LtMatMul::Run(const MatMulCall& call, cudaStream_t stream) {
  if (call.m == 0 || call.n == 0) return;
  const Plan& plan = PlanFor({call.m, call.n, call.k, call.out_dtype});
  CHECK(!call.gated && call.norm.rows == nullptr) << "cuBLASLt multiplies, and no more";
  CHECK(!call.adds || call.out_dtype == DType::kF32) << "a sum's product";
  const float one = 1.0f, before = call.adds ? 1.0f : 0.0f;
  const cublasStatus_t status =
      cublasLtMatmul(handle_, plan.operation, &one, call.w, plan.w, call.x, plan.x, &before,
                     call.out, plan.out, call.out, plan.out, &plan.algorithm, workspace_.data(),
                     static_cast<size_t>(kWorkspaceBytes), stream);
  CudaCheck(AsCuda(status), "multiplying matrices");
  if (call.bias != nullptr)
    LaunchAddBias(call.out, call.out_dtype, call.bias, call.m, call.n, stream);
}

}  // namespace headgate
