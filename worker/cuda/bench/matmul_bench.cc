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

constexpr int64_t kXBytesMax = int64_t{64} << 20;
constexpr int64_t kOutBytesMax = int64_t{256} << 20;
constexpr int64_t kRoundBytes = int64_t{8} << 30;  // of weights in a replay: some 2 ms
constexpr int kReplays = 9;

}  // namespace

absl::StatusOr<std::unique_ptr<MatMulBench>> MatMulBench::Create(int64_t bytes) {
  ASSIGN_OR_RETURN(CudaBuffer weights, CudaBuffer::Create(MemoryPlace::kDevice, bytes));
  ASSIGN_OR_RETURN(CudaBuffer x, CudaBuffer::Create(MemoryPlace::kDevice, kXBytesMax));
  ASSIGN_OR_RETURN(CudaBuffer out, CudaBuffer::Create(MemoryPlace::kDevice, kOutBytesMax));
  ASSIGN_OR_RETURN(std::unique_ptr<LtMatMul> lt, LtMatMul::Create());
  LaunchFillBf16(weights.data(), bytes, 1, nullptr);
  LaunchFillBf16(x.data(), kXBytesMax, 2, nullptr);
  RETURN_IF_ERROR(CudaStatus(cudaDeviceSynchronize(), "filling memory"));
  ASSIGN_OR_RETURN(const double tb_s,
                   ReadTbPerS(weights.data(), bytes, 0, reinterpret_cast<uint32_t*>(out.data())));
  return std::unique_ptr<MatMulBench>(
      new MatMulBench(std::move(weights), std::move(x), std::move(out), tb_s, std::move(lt)));
}

template <typename Run>
absl::StatusOr<double> MatMulBench::MedianUs(const MatMulSize& size, const Run& run) {
  const int64_t bytes = size.n * size.k * 2;
  const int64_t copies = bytes > 0 ? weights_.bytes() / bytes : 0;
  if (copies < 2 || size.m * size.k * 2 > kXBytesMax || size.m * size.n * 4 > kOutBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("bench: a product of ", size.m, " x ", size.n,
                                                   " x ", size.k,
                                                   " does not fit the bench's memory"));
  }
  const int64_t launches = std::clamp<int64_t>(kRoundBytes / bytes, 8, 256);
  ASSIGN_OR_RETURN(const double us, MedianReplayUs(
                                        [&](cudaStream_t stream) {
                                          for (int64_t i = 0; i < launches; ++i) {
                                            MatMulCall call;
                                            call.x = x_.as<const __nv_bfloat16>();
                                            call.w = weights_.as<const __nv_bfloat16>() +
                                                     i % copies * size.n * size.k;
                                            call.out = out_.data();
                                            call.m = size.m;
                                            call.n = size.n;
                                            call.k = size.k;
                                            run(call, stream);
                                          }
                                        },
                                        kReplays));
  return us / static_cast<double>(launches);
}

absl::StatusOr<MatMulTime> MatMulBench::Measure(const MatMulSize& size) {
  MatMulTime time;
  time.read_us = static_cast<double>(size.n * size.k * 2) / linear_read_tb_s_ / 1e6;
  ASSIGN_OR_RETURN(time.lt_us, MedianUs(size, [&](const MatMulCall& call, cudaStream_t stream) {
                     lt_->Run(call, stream);
                   }));
  bool applies = true;
  ASSIGN_OR_RETURN(const double small_us,
                   MedianUs(size, [&](const MatMulCall& call, cudaStream_t stream) {
                     applies = small_.Run(call, stream);
                   }));
  if (applies) time.small_us = small_us;
  return time;
}

}  // namespace headgate
