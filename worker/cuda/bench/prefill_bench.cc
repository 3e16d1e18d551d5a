#include "worker/cuda/bench/prefill_bench.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <bit>
#include <numeric>
#include <random>

#include "base/status_macros.h"
#include "kvstore/kv_layout.h"
#include "worker/cuda/attention/attention.h"
#include "worker/cuda/attention/layer_call.h"
#include "worker/cuda/attention/prefill_attention.h"
#include "worker/cuda/device/cuda_status.h"
#include "worker/cuda/pages/device_page_store.h"

namespace headgate {
namespace {

constexpr SequenceId kSequence = 1;

class PrefillBench {
 public:
  explicit PrefillBench(const PrefillBenchOptions& options) : options_(options) {}

  struct Times {
    double attention_ms = 0.0;
    double append_ms = 0.0;
  };

  absl::Status Prepare();
  absl::StatusOr<Times> Run();

 private:
  absl::Status RunChunk(int64_t position, int64_t length, Times& times);

  const PrefillBenchOptions options_;
  KvLayout layout_;
  std::unique_ptr<UploadRing> uploads_;
  std::unique_ptr<DevicePageStore> store_;
  CudaBuffer pages_, qkv_, out_;
};

absl::Status PrefillBench::Prepare() {
  const RowSpec row = options_.streaming ? RowSpec{HeadClass::kStreaming, 64, 256} : RowSpec{};
  layout_ = MakeKvLayout(options_.page_tokens, options_.head_dim, DType::kBF16,
                         {std::vector<RowSpec>(static_cast<size_t>(options_.kv_heads), row)});
  const int64_t row_pages = options_.tokens / options_.page_tokens + 2;
  const auto pages = static_cast<uint32_t>(row_pages * options_.kv_heads);
  ASSIGN_OR_RETURN(UploadRing ring, UploadRing::Create(options_.chunk * 8 + 4096, nullptr));
  uploads_ = std::make_unique<UploadRing>(std::move(ring));
  ASSIGN_OR_RETURN(store_,
                   DevicePageStore::Create(layout_, pages, options_.tokens, *uploads_, nullptr));
  ASSIGN_OR_RETURN(pages_, CudaBuffer::Create(MemoryPlace::kDevice, layout_.page_bytes() * pages));
  const int64_t cols = (options_.heads + 2 * options_.kv_heads) * options_.head_dim;
  ASSIGN_OR_RETURN(qkv_, CudaBuffer::Create(MemoryPlace::kDevice, options_.chunk * cols * 2));
  ASSIGN_OR_RETURN(out_, CudaBuffer::Create(MemoryPlace::kDevice, options_.chunk * options_.heads *
                                                                      options_.head_dim * 2));
  // Normal values, as real ones are nearly and as peers' benchmarks take: a GPU at its power limit
  // is some percent faster on values with fewer different bits.
  std::vector<uint16_t> normal(1'000'003);
  std::mt19937 random(1);
  std::normal_distribution<float> distribution;
  for (uint16_t& value : normal) {
    value = static_cast<uint16_t>(std::bit_cast<uint32_t>(distribution(random)) >> 16);
  }
  std::vector<uint16_t> values(static_cast<size_t>(options_.chunk * cols));
  for (size_t i = 0; i < values.size(); ++i) values[i] = normal[i % normal.size()];
  return CudaStatus(
      cudaMemcpy(qkv_.data(), values.data(), values.size() * 2, cudaMemcpyHostToDevice),
      "uploading queries");
}

// Work on the default stream, and the milliseconds of it.
template <typename Work>
absl::Status AddTime(const Work& work, double& total_ms) {
  cudaEvent_t begin = nullptr, end = nullptr;
  RETURN_IF_ERROR(CudaStatus(cudaEventCreate(&begin), "event"));
  RETURN_IF_ERROR(CudaStatus(cudaEventCreate(&end), "event"));
  cudaEventRecord(begin);
  RETURN_IF_ERROR(CudaStatus(work(), "prefill"));
  cudaEventRecord(end);
  RETURN_IF_ERROR(CudaStatus(cudaEventSynchronize(end), "prefill"));
  float ms = 0.0f;
  RETURN_IF_ERROR(CudaStatus(cudaEventElapsedTime(&ms, begin, end), "timing"));
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  total_ms += static_cast<double>(ms);
  return absl::OkStatus();
}

absl::Status PrefillBench::RunChunk(int64_t position, int64_t length, Times& times) {
  RETURN_IF_ERROR(store_->BeginStep(std::vector<Chunk>{
      {kSequence, position, std::vector<TokenId>(static_cast<size_t>(length)), false, {}}}));
  std::vector<int32_t> positions(static_cast<size_t>(length)), zeros(positions.size(), 0);
  std::iota(positions.begin(), positions.end(), static_cast<int32_t>(position));
  const StepSequence sequence{store_->Place(kSequence), static_cast<int32_t>(position), 0,
                              static_cast<int32_t>(length)};
  uploads_->Begin();
  StepView step;
  step.positions = uploads_->Add(std::span<const int32_t>(positions));
  step.sequence_of = uploads_->Add(std::span<const int32_t>(zeros));
  step.sequences = uploads_->Add(std::span(&sequence, 1));
  uploads_->Send();
  step.rows = static_cast<int32_t>(length);
  step.sequence_count = 1;
  const int64_t group = options_.heads / options_.kv_heads;
  AttentionCall call = LayerCall(layout_, store_->tables(), pages_.data(), step, 0, group);
  call.qkv = qkv_.as<const __nv_bfloat16>();
  call.out = out_.as<__nv_bfloat16>();
  RETURN_IF_ERROR(AddTime([&] { return LaunchPrefill(call, PrefillTiles(length, group), nullptr); },
                          times.attention_ms));
  RETURN_IF_ERROR(AddTime(
      [&] {
        LaunchAppend(call, nullptr);
        return cudaGetLastError();
      },
      times.append_ms));
  store_->Commit();
  return absl::OkStatus();
}

absl::StatusOr<PrefillBench::Times> PrefillBench::Run() {
  store_->Clear();
  RETURN_IF_ERROR(store_->AddSequence(kSequence));
  Times times;
  for (int64_t at = 0; at < options_.tokens; at += options_.chunk) {
    RETURN_IF_ERROR(RunChunk(at, std::min(options_.chunk, options_.tokens - at), times));
  }
  return times;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

absl::StatusOr<PrefillBenchResult> BenchPrefill(const PrefillBenchOptions& options) {
  PrefillBench bench(options);
  RETURN_IF_ERROR(bench.Prepare());
  RETURN_IF_ERROR(bench.Run().status());  // warm-up
  std::vector<double> attention_ms, append_ms;
  for (int i = 0; i < options.runs; ++i) {
    ASSIGN_OR_RETURN(const PrefillBench::Times times, bench.Run());
    attention_ms.push_back(times.attention_ms);
    append_ms.push_back(times.append_ms);
  }
  PrefillBenchResult result;
  result.milliseconds = Median(attention_ms);
  result.append_ms = Median(append_ms);
  const double tokens = static_cast<double>(options.tokens);
  result.tflops = 2.0 * tokens * tokens * static_cast<double>(options.heads * options.head_dim) /
                  result.milliseconds / 1e9;
  return result;
}

}  // namespace headgate
