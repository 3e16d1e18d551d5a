#include "worker/cuda/matmul/algorithm_choice.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "base/status_macros.h"
#include "worker/cuda/device/cuda_status.h"
#include "worker/cuda/device/device_buffer.h"

namespace headgate {
namespace {

constexpr int64_t kRowsMin = 16;
constexpr int64_t kHalvesMax = 1024;  // a tile more or less matters below it
constexpr int kOffers = 6;
constexpr int kRuns = 3;
constexpr float kClearlyFaster = 0.98f;
constexpr int64_t kCacheBytes = int64_t{128} << 20;  // more than any L2 cache holds

// Times single products whose weights are not in the L2 cache, as in a step.
class Stopwatch {
 public:
  static absl::StatusOr<std::unique_ptr<Stopwatch>> Create(cudaStream_t stream) {
    std::unique_ptr<Stopwatch> watch(new Stopwatch(stream));
    ASSIGN_OR_RETURN(watch->other_data_, CudaBuffer::Create(MemoryPlace::kDevice, kCacheBytes));
    for (cudaEvent_t* event : {&watch->begin_, &watch->end_}) {
      RETURN_IF_ERROR(
          CudaStatus(cudaEventCreateWithFlags(event, cudaEventDefault), "creating an event"));
    }
    return watch;
  }
  ~Stopwatch() {
    for (const cudaEvent_t event : {begin_, end_}) {
      if (event != nullptr) cudaEventDestroy(event);
    }
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

  // The shortest of a few runs, in ms; infinity when cuBLASLt refuses.
  float Time(LtMatMul& lt, const LtAlgorithm& algorithm, const MatMulCall& call) const {
    float best = INFINITY;
    for (int run = -1; run < kRuns; ++run) {  // run -1 loads the kernel
      CudaCheck(cudaMemsetAsync(other_data_.data(), 0, static_cast<size_t>(kCacheBytes), stream_),
                "filling the L2 cache");
      CudaCheck(cudaEventRecord(begin_, stream_), "timing a product");
      if (!lt.RunBy(algorithm, call, stream_).ok()) return INFINITY;
      CudaCheck(cudaEventRecord(end_, stream_), "timing a product");
      CudaCheck(cudaEventSynchronize(end_), "timing a product");
      float ms = 0.0f;
      CudaCheck(cudaEventElapsedTime(&ms, begin_, end_), "timing a product");
      if (run >= 0) best = std::min(best, ms);
    }
    return best;
  }

 private:
  explicit Stopwatch(cudaStream_t stream) : stream_(stream) {}

  const cudaStream_t stream_;
  CudaBuffer other_data_;
  cudaEvent_t begin_ = nullptr;
  cudaEvent_t end_ = nullptr;
};

void Choose(LtMatMul& lt, const MatMulCall& call, const Stopwatch& watch) {
  LtAlgorithm best;
  float best_ms = INFINITY;
  for (const LtAlgorithm& offer : lt.Algorithms(call, kOffers)) {
    const float ms = watch.Time(lt, offer, call);
    if (!(ms < best_ms * kClearlyFaster)) continue;  // the heuristic's favourite comes first
    best = offer;
    best_ms = ms;
  }
  if (std::isfinite(best_ms)) lt.Prefer(best, call);
}

}  // namespace

absl::Status ChooseAlgorithms(LtMatMul& lt, MatMulCall call, int64_t rows_spared,
                              cudaStream_t stream) {
  const int64_t rows_max = call.m;
  if (rows_max <= rows_spared || call.n == 0 || lt.HasPreferred(call)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::unique_ptr<Stopwatch> watch, Stopwatch::Create(stream));
  const auto choose = [&](int64_t rows) {
    call.m = rows;
    if (rows > rows_spared) Choose(lt, call, *watch);
  };
  for (int64_t power = kRowsMin; power < rows_max; power *= 2) {
    choose(power);
    const int64_t between = power + power / 2;
    if (between <= kHalvesMax && between < rows_max) choose(between);
  }
  choose(rows_max);
  return absl::OkStatus();
}

}  // namespace headgate
