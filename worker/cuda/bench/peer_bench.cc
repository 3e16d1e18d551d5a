#include "worker/cuda/bench/peer_bench.h"

#include <limits>
#include <span>

#include "base/status_macros.h"
#include "worker/cuda/bench/copy_bench.h"
#include "worker/cuda/bench/graph_timer.h"
#include "worker/cuda/device/cuda_status.h"
#include "worker/cuda/rows/row_ops.h"

namespace headgate {
namespace {

constexpr int kCalls = 128;  // in a graph: ranks start it some microseconds apart
constexpr int kReplays = 21;
constexpr float kEps = 1e-5f;

}  // namespace

absl::StatusOr<std::unique_ptr<PeerBench>> PeerBench::Create(Collective& peers, int64_t rows_max,
                                                             int64_t cols) {
  cudaStream_t stream = nullptr;
  RETURN_IF_ERROR(
      CudaStatus(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "creating a stream"));
  std::unique_ptr<PeerBench> bench(new PeerBench(peers, stream, cols));
  RETURN_IF_ERROR(bench->Allocate(rows_max));
  PeerGroupOptions options;  // of any size: the choice between the two is what is measured
  options.sum_sent_bytes_max = std::numeric_limits<int64_t>::max();
  ASSIGN_OR_RETURN(bench->group_, PeerGroup::Meet(peers, stream, bench->inbox_, options));
  ASSIGN_OR_RETURN(bench->nccl_, NcclGroup::Meet(peers, stream));
  return bench;
}

PeerBench::~PeerBench() {
  cudaStreamSynchronize(stream_);
  group_.reset();
  nccl_.reset();
  cudaStreamDestroy(stream_);
}

absl::Status PeerBench::Allocate(int64_t rows_max) {
  const int64_t count = rows_max * cols_;
  ASSIGN_OR_RETURN(residual_, CudaBuffer::Create(MemoryPlace::kDevice, count * 4));
  ASSIGN_OR_RETURN(delta_, CudaBuffer::Create(MemoryPlace::kDevice, count * 2));
  ASSIGN_OR_RETURN(weight_, CudaBuffer::Create(MemoryPlace::kDevice, cols_ * 4));
  ASSIGN_OR_RETURN(out_, CudaBuffer::Create(MemoryPlace::kDevice, count * 2));
  // Pairs of bf16 are floats of about the same size.
  LaunchFillBf16(residual_.data(), count * 4, 1, stream_);
  LaunchFillBf16(weight_.data(), cols_ * 4, 2, stream_);
  return CudaStatus(cudaStreamSynchronize(stream_), "filling memory");
}

template <typename Call>
absl::StatusOr<double> PeerBench::MedianUs(const Call& call) {
  // NCCL sums in place: its values grow from call to call.
  LaunchFillBf16(delta_.data(), delta_.bytes(), static_cast<uint32_t>(peers_.rank()) + 3, stream_);
  RETURN_IF_ERROR(CudaStatus(cudaStreamSynchronize(stream_), "filling memory"));
  RETURN_IF_ERROR(peers_.Barrier());
  absl::Status called;
  ASSIGN_OR_RETURN(const double us, MedianReplayUs(
                                        [&](cudaStream_t) {
                                          for (int i = 0; i < kCalls; ++i) called.Update(call());
                                        },
                                        kReplays, stream_));
  RETURN_IF_ERROR(called);
  RETURN_IF_ERROR(group_->Check());
  return us / kCalls;
}

absl::StatusOr<PeerSumTimes> PeerBench::Measure(int64_t rows) {
  const Tensor residual{residual_.data(), DType::kF32, rows, cols_};
  const Tensor delta{delta_.data(), DType::kBF16, rows, cols_};
  const Tensor out{out_.data(), DType::kBF16, rows, cols_};
  const std::span<const float> weight(weight_.as<const float>(), static_cast<size_t>(cols_));
  if (rows * cols_ * 2 > delta_.bytes()) {
    return absl::InvalidArgumentError("bench: more rows than memory was taken for");
  }
  if (!group_->Takes(delta)) {
    return absl::InvalidArgumentError("bench: rows of this length are not summed by peers");
  }
  PeerSumTimes times;
  ASSIGN_OR_RETURN(times.fused_us, MedianUs([&] {
                     return group_->SumAddRmsNorm(residual, delta, weight, kEps, out);
                   }));
  ASSIGN_OR_RETURN(times.plain_us, MedianUs([&] { return group_->SumAdd(residual, delta); }));
  ASSIGN_OR_RETURN(times.nccl_us, MedianUs([&] { return nccl_->AllReduceSum(delta); }));
  ASSIGN_OR_RETURN(times.nccl_norm_us, MedianUs([&]() -> absl::Status {
                     RETURN_IF_ERROR(nccl_->AllReduceSum(delta));
                     LaunchRmsNorm(residual.f32(), static_cast<const __nv_bfloat16*>(delta.data),
                                   weight.data(), kEps, rows, cols_,
                                   static_cast<__nv_bfloat16*>(out.data), stream_);
                     return CudaStatus(cudaGetLastError(), "a norm");
                   }));
  return times;
}

}  // namespace headgate
