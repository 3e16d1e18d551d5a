#include "worker/cuda/bench/attention_bench.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <random>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "worker/cuda/attention/decode_attention.h"
#include "worker/cuda/attention/layer_call.h"
#include "worker/cuda/bench/page_read.h"
#include "worker/cuda/device/cuda_status.h"
#include "worker/cuda/pages/device_page_store.h"

namespace headgate {
namespace {

constexpr double kWarmupMs = 150.0;  // an idle GPU takes some 50 ms to reach its clocks

class Stream {
 public:
  Stream() { CudaCheck(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "a stream"); }
  ~Stream() { cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  operator cudaStream_t() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

// Microseconds of the median call of `work`, which is captured once and then replayed.
double MedianUs(cudaStream_t stream, int64_t repeats, const std::function<void()>& work) {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t replay = nullptr;
  CudaCheck(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capturing");
  work();
  CudaCheck(cudaStreamEndCapture(stream, &graph), "capturing");
  CudaCheck(cudaGraphInstantiate(&replay, graph, 0), "making a graph");
  cudaEvent_t begin = nullptr, end = nullptr;
  CudaCheck(cudaEventCreate(&begin), "an event");
  CudaCheck(cudaEventCreate(&end), "an event");
  std::vector<float> times;
  double ran_ms = 0.0;
  while (static_cast<int64_t>(times.size()) < repeats) {
    CudaCheck(cudaEventRecord(begin, stream), "recording");
    CudaCheck(cudaGraphLaunch(replay, stream), "replaying");
    CudaCheck(cudaEventRecord(end, stream), "recording");
    CudaCheck(cudaEventSynchronize(end), "running the benchmark");
    float ms = 0.0f;
    CudaCheck(cudaEventElapsedTime(&ms, begin, end), "reading the time");
    if (ran_ms >= kWarmupMs) times.push_back(ms);
    ran_ms += static_cast<double>(ms);
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  cudaGraphExecDestroy(replay);
  cudaGraphDestroy(graph);
  std::nth_element(times.begin(), times.begin() + static_cast<int64_t>(times.size() / 2),
                   times.end());
  return 1e3 * static_cast<double>(times[times.size() / 2]);
}

KvLayout LayoutOf(const AttentionBenchOptions& options) {
  std::vector<std::vector<RowSpec>> rows(static_cast<size_t>(options.layers));
  int64_t row = 0;
  for (auto& layer : rows) {
    for (int64_t head = 0; head < options.kv_heads; ++head, ++row) {
      const bool streams = std::floor(static_cast<double>(row + 1) * options.streaming_share) >
                           std::floor(static_cast<double>(row) * options.streaming_share);
      layer.push_back(streams ? RowSpec{HeadClass::kStreaming, options.sinks, options.window}
                              : RowSpec{});
    }
  }
  return MakeKvLayout(options.page_tokens, options.head_dim, DType::kBF16, rows);
}

// Tokens that the query at the end of `context` sees.
int64_t Visible(const RowSpec& row, int64_t context, int64_t page_tokens) {
  const int64_t window = WindowStart(row, context - 1, page_tokens);
  return row.head_class == HeadClass::kFull
             ? context
             : std::min(row.sinks, context) + std::max<int64_t>(context - window, 0);
}

class AttentionBench {
 public:
  explicit AttentionBench(const AttentionBenchOptions& options)
      : options_(options), layout_(LayoutOf(options)) {}

  absl::StatusOr<AttentionBenchResult> Run() {
    RETURN_IF_ERROR(CreatePages());
    RETURN_IF_ERROR(CreateBatch());
    const int64_t group = options_.heads / options_.kv_heads;
    ASSIGN_OR_RETURN(std::unique_ptr<DecodeAttention> decode,
                     DecodeAttention::Create(layout_, Batch(), stream_));
    decode->Plan(store_->tables(), step_, group, stream_);
    AttentionBenchResult result;
    result.bytes = Bytes() / static_cast<double>(options_.layers);
    result.layer_us = MedianUs(stream_, options_.repeats, [&] {
      for (int64_t layer = 0; layer < options_.layers; ++layer) {
        decode->Launch(CallOf(layer), layer, stream_);
      }
    });
    result.layer_us /= static_cast<double>(options_.layers);
    result.plan_us = MedianUs(stream_, options_.repeats,
                              [&] { decode->Plan(store_->tables(), step_, group, stream_); });
    result.bytes_per_s = result.bytes / result.layer_us * 1e6;
    const auto pages = static_cast<int64_t>(order_.bytes() / sizeof(PageId));
    const double read_us = MedianUs(stream_, options_.repeats, [&] {
      LaunchReadPages(pages_.data(), layout_.page_bytes(), order_.as<PageId>(), pages,
                      sink_.as<uint32_t>(), stream_);
    });
    result.read_bytes_per_s = static_cast<double>(pages * layout_.page_bytes()) / read_us * 1e6;
    CudaCheck(cudaGetLastError(), "the benchmark");
    return result;
  }

 private:
  int64_t Batch() const { return static_cast<int64_t>(options_.contexts.size()); }

  double Bytes() const {
    int64_t tokens = 0;
    for (const int64_t context : options_.contexts) {
      for (const RowSpec& row : layout_.rows) tokens += Visible(row, context, layout_.page_tokens);
    }
    return static_cast<double>(tokens * layout_.head_dim * 2 * DTypeBytes(layout_.dtype));
  }

  // Random contents, and tables that take pages in random order.
  absl::Status CreatePages() {
    int64_t pages = 0;
    for (const int64_t context : options_.contexts) {
      for (const RowSpec& row : layout_.rows) {
        pages += WorstCasePages(row, context, layout_.page_tokens);
      }
    }
    ASSIGN_OR_RETURN(pages_,
                     CudaBuffer::Create(MemoryPlace::kDevice, pages * layout_.page_bytes()));
    ASSIGN_OR_RETURN(order_, CudaBuffer::Create(MemoryPlace::kDevice,
                                                pages * static_cast<int64_t>(sizeof(PageId))));
    ASSIGN_OR_RETURN(sink_, CudaBuffer::Create(MemoryPlace::kDevice, sizeof(uint32_t)));
    LaunchFillRandom(pages_.data(), pages_.bytes(), 1, stream_);
    ASSIGN_OR_RETURN(UploadRing uploads, UploadRing::Create(1 << 20, stream_));
    uploads_ = std::make_unique<UploadRing>(std::move(uploads));
    const int64_t longest = *std::max_element(options_.contexts.begin(), options_.contexts.end());
    ASSIGN_OR_RETURN(store_, DevicePageStore::Create(layout_, static_cast<uint32_t>(pages), longest,
                                                     *uploads_, stream_));
    std::vector<PageId> ids(static_cast<size_t>(pages));
    std::iota(ids.begin(), ids.end(), PageId{0});
    std::shuffle(ids.begin(), ids.end(), std::mt19937_64(7));
    for (PageId* to : {store_->tables().free_pages, order_.as<PageId>()}) {
      RETURN_IF_ERROR(CudaStatus(cudaMemcpyAsync(to, ids.data(), ids.size() * sizeof(PageId),
                                                 cudaMemcpyHostToDevice, stream_),
                                 "uploading the pages' order"));
    }
    return CudaStatus(cudaStreamSynchronize(stream_), "filling pages");
  }

  // Every sequence is about to attend from its last position.
  absl::Status CreateBatch() {
    std::vector<Chunk> chunks;
    std::vector<StepSequence> sequences;
    for (int64_t i = 0; i < Batch(); ++i) {
      const auto id = static_cast<SequenceId>(i);
      const int64_t context = options_.contexts[static_cast<size_t>(i)];
      RETURN_IF_ERROR(store_->AddSequence(id));
      chunks.push_back({id, 0, std::vector<TokenId>(static_cast<size_t>(context)), false, {}});
      sequences.push_back(
          {store_->Place(id), static_cast<int32_t>(context - 1), static_cast<int32_t>(i), 1});
    }
    RETURN_IF_ERROR(store_->BeginStep(chunks));
    store_->Commit();
    const auto bytes = static_cast<int64_t>(sequences.size() * sizeof(StepSequence));
    ASSIGN_OR_RETURN(sequences_, CudaBuffer::Create(MemoryPlace::kDevice, bytes));
    const int64_t heads = options_.heads + 2 * options_.kv_heads;
    ASSIGN_OR_RETURN(
        qkv_, CudaBuffer::Create(MemoryPlace::kDevice, Batch() * heads * options_.head_dim * 2));
    ASSIGN_OR_RETURN(out_, CudaBuffer::Create(MemoryPlace::kDevice,
                                              Batch() * options_.heads * options_.head_dim * 2));
    LaunchFillRandom(qkv_.data(), qkv_.bytes(), 2, stream_);
    step_.sequences = sequences_.as<const StepSequence>();
    step_.rows = step_.sequence_count = static_cast<int32_t>(Batch());
    RETURN_IF_ERROR(
        CudaStatus(cudaMemcpyAsync(sequences_.data(), sequences.data(), static_cast<size_t>(bytes),
                                   cudaMemcpyHostToDevice, stream_),
                   "uploading the batch"));
    return CudaStatus(cudaStreamSynchronize(stream_), "making the batch");
  }

  AttentionCall CallOf(int64_t layer) const {
    AttentionCall call = LayerCall(layout_, store_->tables(), pages_.data(), step_, layer,
                                   options_.heads / options_.kv_heads);
    call.qkv = qkv_.as<const __nv_bfloat16>();
    call.out = out_.as<__nv_bfloat16>();
    return call;
  }

  const AttentionBenchOptions options_;
  const KvLayout layout_;
  Stream stream_;
  CudaBuffer pages_, order_, sink_, sequences_, qkv_, out_;
  std::unique_ptr<UploadRing> uploads_;
  std::unique_ptr<DevicePageStore> store_;
  StepView step_;
};

}  // namespace

absl::StatusOr<AttentionBenchResult> BenchAttention(const AttentionBenchOptions& options) {
  if (!(options.kv_heads >= 1 && options.heads >= options.kv_heads &&
        options.heads % options.kv_heads == 0 && options.layers >= 1 && options.layers <= 1024)) {
    return absl::InvalidArgumentError(
        "bench attention: give layers (1 to 1024) and heads, a multiple of kv_heads");
  }
  if (options.contexts.empty() || options.contexts.size() > 1024 || !(options.repeats >= 1) ||
      !(options.streaming_share >= 0.0 && options.streaming_share <= 1.0)) {
    return absl::InvalidArgumentError(
        "bench attention: give 1 to 1024 contexts, repeats, and a streaming share of 0 to 1");
  }
  for (const int64_t context : options.contexts) {
    if (!(context >= 1 && context <= int64_t{1} << 24)) {
      return absl::InvalidArgumentError(
          absl::StrCat("bench attention: a context of ", context, " tokens; give 1 to 16777216"));
    }
  }
  const KvLayout layout = LayoutOf(options);
  RETURN_IF_ERROR(ValidateKvLayout(layout));
  if (!DecodeAttention::Supports(layout, options.heads / options.kv_heads)) {
    return absl::InvalidArgumentError(
        "bench attention: no decode kernel for these shapes; head_dim is 64, 96 or 128, "
        "page_tokens "
        "16 or more, heads / kv_heads at most 16");
  }
  return AttentionBench(options).Run();
}

}  // namespace headgate
