#include "worker/cuda/bench/prefill_bench.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <bit>
#include <numeric>
#include <random>

#include "base/status_macros.h"
#include "kvstore/kv_layout.h"
#include "worker/cuda/attention/attention.h"
#include "worker/cuda/attention/prefill_attention.h"
#include "worker/cuda/device/cuda_status.h"
#include "worker/cuda/pages/device_page_store.h"

namespace headgate {
namespace {

constexpr SequenceId kSequence = 1;

class PrefillBench {
 public:
  explicit PrefillBench(const PrefillBenchOptions& options) : options_(options) {}

  absl::Status Prepare();
  absl::StatusOr<double> Run();  // milliseconds of attention alone

 private:
  absl::StatusOr<float> RunChunk(int64_t position, int64_t length);

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

absl::StatusOr<float> PrefillBench::RunChunk(int64_t position, int64_t length) {
  RETURN_IF_ERROR(store_->BeginStep(std::vector<Chunk>{
      {kSequence, position, std::vector<TokenId>(static_cast<size_t>(length)), false, {}}}));
  std::vector<int32_t> positions(static_cast<size_t>(length)), zeros(positions.size(), 0);
  std::iota(positions.begin(), positions.end(), static_cast<int32_t>(position));
  const StepSequence sequence{store_->Place(kSequence), static_cast<int32_t>(position), 0,
                              static_cast<int32_t>(length)};
  uploads_->Begin();
  AttentionCall call;
  call.step.positions = uploads_->Add(std::span<const int32_t>(positions));
  call.step.sequence_of = uploads_->Add(std::span<const int32_t>(zeros));
  call.step.sequences = uploads_->Add(std::span(&sequence, 1));
  uploads_->Send();
  call.step.rows = static_cast<int32_t>(length);
  call.step.sequence_count = 1;
  call.tables = store_->tables();
  call.pages = pages_.data();
  call.page_bytes = layout_.page_bytes();
  call.kv_heads = static_cast<int32_t>(options_.kv_heads);
  call.heads = static_cast<int32_t>(options_.heads);
  call.head_dim = static_cast<int32_t>(options_.head_dim);
  call.qkv = qkv_.as<const __nv_bfloat16>();
  call.out = out_.as<__nv_bfloat16>();
  cudaEvent_t begin, end;
  RETURN_IF_ERROR(CudaStatus(cudaEventCreate(&begin), "event"));
  RETURN_IF_ERROR(CudaStatus(cudaEventCreate(&end), "event"));
  cudaEventRecord(begin);
  RETURN_IF_ERROR(CudaStatus(
      LaunchPrefill(call, PrefillTiles(length, options_.heads / options_.kv_heads), nullptr),
      "prefill"));
  cudaEventRecord(end);
  LaunchAppend(call, nullptr);
  store_->Commit();
  RETURN_IF_ERROR(CudaStatus(cudaDeviceSynchronize(), "prefill"));
  float milliseconds = 0.0f;
  RETURN_IF_ERROR(CudaStatus(cudaEventElapsedTime(&milliseconds, begin, end), "timing"));
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  return milliseconds;
}

absl::StatusOr<double> PrefillBench::Run() {
  store_->Clear();
  RETURN_IF_ERROR(store_->AddSequence(kSequence));
  double total = 0.0;
  for (int64_t at = 0; at < options_.tokens; at += options_.chunk) {
    ASSIGN_OR_RETURN(const float one, RunChunk(at, std::min(options_.chunk, options_.tokens - at)));
    total += one;
  }
  return total;
}

}  // namespace

absl::StatusOr<PrefillBenchResult> BenchPrefill(const PrefillBenchOptions& options) {
  PrefillBench bench(options);
  RETURN_IF_ERROR(bench.Prepare());
  RETURN_IF_ERROR(bench.Run().status());  // warm-up
  std::vector<double> runs;
  for (int i = 0; i < options.runs; ++i) {
    ASSIGN_OR_RETURN(const double one, bench.Run());
    runs.push_back(one);
  }
  std::sort(runs.begin(), runs.end());
  PrefillBenchResult result;
  result.milliseconds = runs[runs.size() / 2];
  const double tokens = static_cast<double>(options.tokens);
  result.tflops = 2.0 * tokens * tokens * static_cast<double>(options.heads * options.head_dim) /
                  result.milliseconds / 1e9;
  return result;
}

}  // namespace headgate
