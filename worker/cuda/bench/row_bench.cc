#include "worker/cuda/bench/row_bench.h"

#include <cuda_bf16.h>

#include <functional>
#include <utility>

#include "base/status_macros.h"
#include "worker/cuda/bench/copy_bench.h"
#include "worker/cuda/bench/graph_timer.h"
#include "worker/cuda/bench/llama3_shape.h"
#include "worker/cuda/device/cuda_status.h"
#include "worker/cuda/device/device_buffer.h"
#include "worker/cuda/rows/row_ops.h"

namespace headgate {
namespace {

using bf16 = __nv_bfloat16;

using namespace llama3;       // kHidden, kInner, kHeads, ...
constexpr int kLaunches = 4;  // of a replay
constexpr int kReplays = 15;

// All rows are at position 0 and of token 0: kernels do the same for any.
struct Buffers {
  CudaBuffer residual, delta, out, qkv, gate_up, inner, weight, zeros;
};

absl::StatusOr<Buffers> Allocate(int64_t rows) {
  Buffers buffers;
  const std::pair<CudaBuffer*, int64_t> sizes[] = {{&buffers.residual, rows * kHidden * 4},
                                                   {&buffers.delta, rows * kHidden * 2},
                                                   {&buffers.out, rows * kHidden * 2},
                                                   {&buffers.qkv, rows * kQkv * 2},
                                                   {&buffers.gate_up, rows * kInner * 4},
                                                   {&buffers.inner, rows * kInner * 2},
                                                   {&buffers.weight, kQkv * 4},
                                                   {&buffers.zeros, rows * 4}};
  for (const auto& [buffer, bytes] : sizes) {
    ASSIGN_OR_RETURN(*buffer, CudaBuffer::Create(MemoryPlace::kDevice, bytes));
    LaunchFillBf16(buffer->data(), bytes, 1, nullptr);
  }
  RETURN_IF_ERROR(CudaStatus(
      cudaMemset(buffers.zeros.data(), 0, static_cast<size_t>(buffers.zeros.bytes())), "clearing"));
  RETURN_IF_ERROR(CudaStatus(cudaDeviceSynchronize(), "filling memory"));
  return buffers;
}

}  // namespace

absl::StatusOr<std::vector<RowOpTime>> BenchRowOps(int64_t rows) {
  ASSIGN_OR_RETURN(const Buffers b, Allocate(rows));
  auto* residual = b.residual.as<float>();
  auto *delta = b.delta.as<bf16>(), *out = b.out.as<bf16>(), *qkv = b.qkv.as<bf16>();
  const auto* weight = b.weight.as<const float>();
  StepView step;
  step.tokens = b.zeros.as<const TokenId>();
  step.positions = b.zeros.as<const int32_t>();
  step.rows = static_cast<int32_t>(rows);
  struct Case {
    const char* name;
    int64_t row_bytes;
    std::function<void(cudaStream_t)> launch;
  };
  const Case cases[] = {
      {"sum and norm", kHidden * (4 + 2 + 4 + 2),
       [&](cudaStream_t stream) {
         LaunchRmsNorm(residual, delta, weight, kEps, rows, kHidden, out, stream);
       }},
      {"norm", kHidden * (4 + 2),
       [&](cudaStream_t stream) {
         LaunchRmsNorm(residual, nullptr, weight, kEps, rows, kHidden, out, stream);
       }},
      {"sum", kHidden * (4 + 2 + 4),
       [&](cudaStream_t stream) { LaunchAdd(residual, delta, rows, kHidden, stream); }},
      {"rotation", (kHeads + kKvHeads) * kHeadDim * (2 + 2),
       [&](cudaStream_t stream) {
         LaunchRope(step, qkv, kQkv, kHeads + kKvHeads, kHeadDim, weight, stream);
       }},
      {"gate", kInner * (4 + 2),
       [&](cudaStream_t stream) {
         LaunchSiluMul(b.gate_up.as<const bf16>(), rows, kInner, b.inner.as<bf16>(), stream);
       }},
      {"bias", kQkv * (2 + 2),
       [&](cudaStream_t stream) { LaunchAddBias(qkv, DType::kBF16, weight, rows, kQkv, stream); }},
      {"head norm", kHeads * kHeadDim * (2 + 2),
       [&](cudaStream_t stream) {
         LaunchHeadNorm(qkv, kQkv, rows, kHeads, kHeadDim, weight, kEps, stream);
       }},
      {"embedding", kHidden * 4,  // its table's row stays in the cache
       [&](cudaStream_t stream) { LaunchEmbed(step, delta, 1, kHidden, residual, stream); }},
  };
  std::vector<RowOpTime> times;
  for (const Case& one : cases) {
    const auto work = [&one](cudaStream_t stream) {
      for (int i = 0; i < kLaunches; ++i) one.launch(stream);
    };
    ASSIGN_OR_RETURN(const double us, MedianReplayUs(work, kReplays, times.empty() ? kWakeMs : 0));
    times.push_back({one.name, us / kLaunches, static_cast<double>(rows * one.row_bytes)});
  }
  RETURN_IF_ERROR(CudaStatus(cudaGetLastError(), "the benchmark"));
  return times;
}

}  // namespace headgate
