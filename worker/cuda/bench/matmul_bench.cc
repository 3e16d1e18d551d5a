#include "worker/cuda/bench/matmul_bench.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "worker/cuda/bench/copy_bench.h"
#include "worker/cuda/bench/graph_timer.h"
#include "worker/cuda/device/cuda_status.h"

namespace headgate {
namespace {

constexpr int64_t kRoundBytes = int64_t{8} << 30;  // of weights in a replay: some 2 ms
constexpr double kRoundFlop = 8e12;                // or this many operations: some 12 ms
constexpr int kReplays = 9;

double FlopOf(const MatMulSize& size) {
  return 2.0 * static_cast<double>(size.m * size.n * size.k);
}

}  // namespace

absl::StatusOr<std::unique_ptr<MatMulBench>> MatMulBench::Create(const MatMulMemory& memory) {
  ASSIGN_OR_RETURN(CudaBuffer weights,
                   CudaBuffer::Create(MemoryPlace::kDevice, memory.weights_bytes));
  ASSIGN_OR_RETURN(CudaBuffer x, CudaBuffer::Create(MemoryPlace::kDevice, memory.x_bytes));
  ASSIGN_OR_RETURN(CudaBuffer out, CudaBuffer::Create(MemoryPlace::kDevice, memory.out_bytes));
  ASSIGN_OR_RETURN(std::unique_ptr<MatrixProducts> products, MatrixProducts::Create());
  ASSIGN_OR_RETURN(std::unique_ptr<LtMatMul> lt, LtMatMul::Create());
  LaunchFillBf16(weights.data(), memory.weights_bytes, 1, nullptr);
  LaunchFillBf16(x.data(), memory.x_bytes, 2, nullptr);
  RETURN_IF_ERROR(CudaStatus(cudaDeviceSynchronize(), "filling memory"));
  ASSIGN_OR_RETURN(const double tb_s, ReadTbPerS(weights.data(), memory.weights_bytes, 0,
                                                 reinterpret_cast<uint32_t*>(out.data())));
  return std::unique_ptr<MatMulBench>(new MatMulBench(
      std::move(weights), std::move(x), std::move(out), tb_s, std::move(products), std::move(lt)));
}

absl::Status MatMulBench::CheckFits(const MatMulSize& size) const {
  const int64_t out_bytes = size.m * size.n * 2;
  if (size.m > 0 && size.n > 0 && size.k > 0 && size.n * size.k * 4 <= weights_.bytes() &&
      size.m * size.k * 2 <= x_.bytes() && out_bytes <= out_.bytes()) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("bench: a product of ", size.m, " x ", size.n,
                                                 " x ", size.k,
                                                 " does not fit the bench's memory"));
}

// The weights' matrices of this size take turns.
MatMulCall MatMulBench::CallOf(const MatMulSize& size, int64_t copy) const {
  const int64_t copies = weights_.bytes() / (size.n * size.k * 2);
  MatMulCall call;
  call.x = x_.as<const __nv_bfloat16>();
  call.w = weights_.as<const __nv_bfloat16>() + copy % copies * size.n * size.k;
  call.out = out_.data();
  call.m = size.m;
  call.n = size.n;
  call.k = size.k;
  return call;
}

template <typename Run>
absl::StatusOr<double> MatMulBench::MedianUs(const MatMulSize& size, const Run& run) {
  const int64_t of_bytes = kRoundBytes / (size.n * size.k * 2);
  const auto of_flop = static_cast<int64_t>(kRoundFlop / FlopOf(size));
  const int64_t launches = std::clamp<int64_t>(std::min(of_bytes, of_flop), 8, 256);
  const auto work = [&](cudaStream_t stream) {
    for (int64_t i = 0; i < launches; ++i) run(CallOf(size, i), stream);
  };
  ASSIGN_OR_RETURN(const double us, MedianReplayUs(work, kReplays));
  return us / static_cast<double>(launches);
}

absl::StatusOr<MatMulTime> MatMulBench::Measure(const MatMulSize& size) {
  RETURN_IF_ERROR(CheckFits(size));
  MatMulTime time;
  time.read_us = static_cast<double>(size.n * size.k * 2) / linear_read_tb_s_ / 1e6;
  ASSIGN_OR_RETURN(time.lt_us, MedianUs(size, [&](const MatMulCall& call, cudaStream_t stream) {
                     lt_->Run(call, stream);
                   }));
  ASSIGN_OR_RETURN(time.us, MedianUs(size, [&](const MatMulCall& call, cudaStream_t stream) {
                     products_->Run(call, stream);
                   }));
  return time;
}

absl::StatusOr<std::vector<AlgorithmTime>> MatMulBench::MeasureAlgorithms(const MatMulSize& size,
                                                                          int count) {
  RETURN_IF_ERROR(CheckFits(size));
  std::vector<AlgorithmTime> times;
  for (const LtAlgorithm& algorithm : lt_->Algorithms(CallOf(size, 0), count)) {
    AlgorithmTime& time = times.emplace_back();
    time.workspace_bytes = algorithm.workspace_bytes;
    time.taken = algorithm.taken;
    // Outside of a graph: it loads its kernel, and what fails here spoils no recording.
    if (!lt_->RunBy(algorithm, CallOf(size, 0), nullptr).ok()) continue;
    RETURN_IF_ERROR(CudaStatus(cudaDeviceSynchronize(), "a product"));
    bool fine = true;
    ASSIGN_OR_RETURN(const double us,
                     MedianUs(size, [&](const MatMulCall& call, cudaStream_t stream) {
                       fine &= lt_->RunBy(algorithm, call, stream).ok();
                     }));
    if (!fine) continue;
    time.us = us;
    time.tflops = FlopOf(size) / us / 1e6;
  }
  return times;
}

}  // namespace headgate
