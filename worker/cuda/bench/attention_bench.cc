#include "worker/cuda/bench/attention_bench.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "worker/cuda/attention/decode_attention.h"
#include "worker/cuda/attention/layer_call.h"
#include "worker/cuda/bench/copy_bench.h"
#include "worker/cuda/bench/graph_timer.h"
#include "worker/cuda/device/cuda_status.h"
#include "worker/cuda/pages/device_page_store.h"

namespace headgate {
namespace {

KvLayout LayoutOf(const AttentionBenchOptions& options) {
  return MakeKvLayout(options.page_tokens, options.head_dim, DType::kBF16, options.rows);
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
    ASSIGN_OR_RETURN(std::unique_ptr<DecodeAttention> decode,
                     DecodeAttention::Create(layout_, Batch(), nullptr));
    decode->Plan(store_->tables(), step_, options_.group, nullptr);
    RETURN_IF_ERROR(CudaStatus(cudaDeviceSynchronize(), "planning"));
    const auto attend = [&](cudaStream_t stream) {
      for (int64_t layer = 0; layer < layout_.layers(); ++layer) {
        decode->Launch(CallOf(layer), layer, stream);
      }
    };
    const auto plan = [&](cudaStream_t stream) {
      decode->Plan(store_->tables(), step_, options_.group, stream);
    };
    AttentionBenchResult result;
    result.bytes = Bytes() / static_cast<double>(layout_.layers());
    ASSIGN_OR_RETURN(result.layer_us, MedianReplayUs(attend, options_.repeats, kWakeMs));
    result.layer_us /= static_cast<double>(layout_.layers());
    ASSIGN_OR_RETURN(result.plan_us, MedianReplayUs(plan, options_.repeats, kWakeMs));
    result.bytes_per_s = result.bytes / result.layer_us * 1e6;
    ASSIGN_OR_RETURN(
        const double read_tb_s,
        ReadTbPerS(pages_.data(), pages_.bytes(), layout_.page_bytes(), sink_.as<uint32_t>()));
    result.read_bytes_per_s = read_tb_s * 1e12;
    RETURN_IF_ERROR(CudaStatus(cudaGetLastError(), "the benchmark"));
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
    ASSIGN_OR_RETURN(sink_, CudaBuffer::Create(MemoryPlace::kDevice, sizeof(uint32_t)));
    LaunchFillBf16(pages_.data(), pages_.bytes(), 1, nullptr, FillSize::kUpToTwo);
    ASSIGN_OR_RETURN(UploadRing uploads, UploadRing::Create(1 << 20, nullptr));
    uploads_ = std::make_unique<UploadRing>(std::move(uploads));
    const int64_t longest = *std::max_element(options_.contexts.begin(), options_.contexts.end());
    ASSIGN_OR_RETURN(store_, DevicePageStore::Create(layout_, static_cast<uint32_t>(pages), longest,
                                                     *uploads_, nullptr));
    std::vector<PageId> ids(static_cast<size_t>(pages));
    std::iota(ids.begin(), ids.end(), PageId{0});
    std::shuffle(ids.begin(), ids.end(), std::mt19937_64(7));
    return CudaStatus(cudaMemcpy(store_->tables().free_pages, ids.data(),
                                 ids.size() * sizeof(PageId), cudaMemcpyHostToDevice),
                      "uploading the pages' order");
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
    const int64_t kv_head_bytes = Batch() * layout_.kv_heads(0) * options_.head_dim * 2;
    ASSIGN_OR_RETURN(
        qkv_, CudaBuffer::Create(MemoryPlace::kDevice, kv_head_bytes * (options_.group + 2)));
    ASSIGN_OR_RETURN(out_,
                     CudaBuffer::Create(MemoryPlace::kDevice, kv_head_bytes * options_.group));
    LaunchFillBf16(qkv_.data(), qkv_.bytes(), 2, nullptr, FillSize::kUpToTwo);
    step_.sequences = sequences_.as<const StepSequence>();
    step_.rows = step_.sequence_count = static_cast<int32_t>(Batch());
    RETURN_IF_ERROR(CudaStatus(cudaMemcpy(sequences_.data(), sequences.data(),
                                          static_cast<size_t>(bytes), cudaMemcpyHostToDevice),
                               "uploading the batch"));
    return CudaStatus(cudaDeviceSynchronize(), "making the batch");
  }

  AttentionCall CallOf(int64_t layer) const {
    AttentionCall call =
        LayerCall(layout_, store_->tables(), pages_.data(), step_, layer, options_.group);
    call.qkv = qkv_.as<const __nv_bfloat16>();
    call.out = out_.as<__nv_bfloat16>();
    return call;
  }

  const AttentionBenchOptions options_;
  const KvLayout layout_;
  CudaBuffer pages_, sink_, sequences_, qkv_, out_;
  std::unique_ptr<UploadRing> uploads_;
  std::unique_ptr<DevicePageStore> store_;
  StepView step_;
};

}  // namespace

absl::StatusOr<AttentionBenchResult> BenchAttention(const AttentionBenchOptions& options) {
  const bool same_heads = std::all_of(
      options.rows.begin(), options.rows.end(),
      [&](const auto& layer) { return !layer.empty() && layer.size() == options.rows[0].size(); });
  if (options.rows.empty() || options.rows.size() > 1024 || !same_heads) {
    return absl::InvalidArgumentError(
        "bench attention: give 1 to 1024 layers of as many kv heads each");
  }
  if (options.contexts.empty() || options.contexts.size() > 1024 || !(options.repeats >= 1)) {
    return absl::InvalidArgumentError("bench attention: give 1 to 1024 contexts, and repeats");
  }
  for (const int64_t context : options.contexts) {
    if (!(context >= 1 && context <= int64_t{1} << 24)) {
      return absl::InvalidArgumentError(
          absl::StrCat("bench attention: a context of ", context, " tokens; give 1 to 16777216"));
    }
  }
  const KvLayout layout = LayoutOf(options);
  RETURN_IF_ERROR(ValidateKvLayout(layout));
  if (!DecodeAttention::Supports(layout, options.group)) {
    return absl::InvalidArgumentError(
        "bench attention: no decode kernel for these shapes; head_dim is 64, 96 or 128, "
        "page_tokens 16 or more, the group at most 16");
  }
  return AttentionBench(options).Run();
}

}  // namespace headgate
