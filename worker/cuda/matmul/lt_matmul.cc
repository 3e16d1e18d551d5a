#include "worker/cuda/matmul/lt_matmul.h"

#include <algorithm>
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
  bool preferred = false;  // the algorithm, and not the heuristic's own

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

std::unique_ptr<LtMatMul::Plan> LtMatMul::Describe(const Shape& shape) {
  const auto [m, n, k, out_dtype] = shape;
  auto plan = std::make_unique<Plan>();
  CHECK(cublasLtMatmulDescCreate(&plan->operation, CUBLAS_COMPUTE_32F, CUDA_R_32F) ==
        CUBLAS_STATUS_SUCCESS);
  const cublasOperation_t transpose = CUBLAS_OP_T;
  CHECK(cublasLtMatmulDescSetAttribute(plan->operation, CUBLASLT_MATMUL_DESC_TRANSA, &transpose,
                                       sizeof(transpose)) == CUBLAS_STATUS_SUCCESS);
  plan->w = Layout(CUDA_R_16BF, n, k);
  plan->x = Layout(CUDA_R_16BF, m, k);
  plan->out = Layout(out_dtype == DType::kF32 ? CUDA_R_32F : CUDA_R_16BF, m, n);
  return plan;
}

std::vector<cublasLtMatmulHeuristicResult_t> LtMatMul::Ask(const Plan& plan, int count) const {
  cublasLtMatmulPreference_t preference = nullptr;
  CHECK(cublasLtMatmulPreferenceCreate(&preference) == CUBLAS_STATUS_SUCCESS);
  CHECK(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                             &kWorkspaceBytes,
                                             sizeof(kWorkspaceBytes)) == CUBLAS_STATUS_SUCCESS);
  // Parts of a sum that is cut over k are added in fp32, and in the same order every time.
  const uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  CHECK(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                                             &schemes, sizeof(schemes)) == CUBLAS_STATUS_SUCCESS);
  std::vector<cublasLtMatmulHeuristicResult_t> offers(static_cast<size_t>(count));
  int found = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(handle_, plan.operation, plan.w, plan.x, plan.out, plan.out,
                                     preference, count, offers.data(), &found);
  cublasLtMatmulPreferenceDestroy(preference);
  offers.resize(status == CUBLAS_STATUS_SUCCESS ? static_cast<size_t>(found) : 0);
  std::erase_if(offers, [](const cublasLtMatmulHeuristicResult_t& offer) {
    return offer.state != CUBLAS_STATUS_SUCCESS;
  });
  return offers;
}

cublasLtMatmulAlgo_t LtMatMul::Favourite(const Plan& plan) const {
  const std::vector<cublasLtMatmulHeuristicResult_t> offers = Ask(plan, 1);
  CHECK(!offers.empty()) << "cuBLASLt has no algorithm for a product";
  return offers.front().algo;
}

LtMatMul::Plan& LtMatMul::PlanFor(const MatMulCall& call) {
  CHECK(!call.gated) << "cuBLASLt multiplies, and no more";
  const Shape shape = {call.m, call.n, call.k, call.out_dtype};
  if (const auto known = plans_.find(shape); known != plans_.end()) return *known->second;
  if (plans_.size() >= kPlansMax) plans_.clear();
  std::unique_ptr<Plan> plan = Describe(shape);
  const auto preferred = PreferredFor(*plan, call);
  plan->preferred = preferred.has_value();
  plan->algorithm = preferred.has_value() ? *preferred : Favourite(*plan);
  return *plans_.emplace(shape, std::move(plan)).first->second;
}

std::optional<cublasLtMatmulAlgo_t> LtMatMul::PreferredFor(const Plan& plan,
                                                           const MatMulCall& call) const {
  const auto matrix = preferred_.find({call.n, call.k, call.out_dtype});
  if (matrix == preferred_.end()) return std::nullopt;
  const auto preferred = matrix->second.lower_bound(call.m);
  if (preferred == matrix->second.end()) return std::nullopt;
  cublasLtMatmulHeuristicResult_t needs = {};
  const cublasStatus_t status = cublasLtMatmulAlgoCheck(
      handle_, plan.operation, plan.w, plan.x, plan.out, plan.out, &preferred->second, &needs);
  if (status != CUBLAS_STATUS_SUCCESS ||
      static_cast<int64_t>(needs.workspaceSize) > kWorkspaceBytes) {
    return std::nullopt;
  }
  return preferred->second;
}

void LtMatMul::Prefer(const LtAlgorithm& algorithm, const MatMulCall& call) {
  preferred_[{call.n, call.k, call.out_dtype}].insert_or_assign(call.m, algorithm.algorithm);
  plans_.clear();  // made without it
}

bool LtMatMul::HasPreferred(const MatMulCall& call) const {
  const auto matrix = preferred_.find({call.n, call.k, call.out_dtype});
  return matrix != preferred_.end() && matrix->second.contains(call.m);
}

cublasStatus_t LtMatMul::Multiply(const Plan& plan, const cublasLtMatmulAlgo_t& algorithm,
                                  const MatMulCall& call, cudaStream_t stream) const {
  const float one = 1.0f, zero = 0.0f;
  return cublasLtMatmul(handle_, plan.operation, &one, call.w, plan.w, call.x, plan.x, &zero,
                        call.out, plan.out, call.out, plan.out, &algorithm, workspace_.data(),
                        static_cast<size_t>(kWorkspaceBytes), stream);
}

void LtMatMul::Run(const MatMulCall& call, cudaStream_t stream) {
  if (call.m == 0 || call.n == 0) return;
  Plan& plan = PlanFor(call);
  cublasStatus_t status = Multiply(plan, plan.algorithm, call, stream);
  if (status != CUBLAS_STATUS_SUCCESS && plan.preferred) {  // accepted for this m, and refused
    plan.preferred = false;
    plan.algorithm = Favourite(plan);
    status = Multiply(plan, plan.algorithm, call, stream);
  }
  CudaCheck(AsCuda(status), "multiplying matrices");
  if (call.bias != nullptr)
    LaunchAddBias(call.out, call.out_dtype, call.bias, call.m, call.n, stream);
}

std::vector<LtAlgorithm> LtMatMul::Algorithms(const MatMulCall& call, int count) {
  const Plan& plan = PlanFor(call);
  std::vector<LtAlgorithm> algorithms;
  for (const cublasLtMatmulHeuristicResult_t& offer : Ask(plan, count)) {
    const bool taken = std::ranges::equal(offer.algo.data, plan.algorithm.data);
    algorithms.push_back({offer.algo, static_cast<int64_t>(offer.workspaceSize), taken});
  }
  return algorithms;
}

absl::Status LtMatMul::RunBy(const LtAlgorithm& algorithm, const MatMulCall& call,
                             cudaStream_t stream) {
  const cublasStatus_t status = Multiply(PlanFor(call), algorithm.algorithm, call, stream);
  if (status == CUBLAS_STATUS_SUCCESS) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("cuBLASLt refuses an algorithm (status ", static_cast<int>(status), ")"));
}

}  // namespace headgate
