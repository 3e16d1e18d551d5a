#include "worker/cuda/attention/paged_attention.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "worker/cuda/attention/layer_call.h"
#include "worker/cuda/attention/prefill_attention.h"
#include "worker/cuda/device/cuda_status.h"
#include "worker/cuda/rows/row_ops.h"
#include "worker/cuda/step_rows.h"

namespace headgate {

PagedAttention::PagedAttention(const DevicePageStore& store, CudaBuffer pages,
                               std::unique_ptr<DecodeAttention> decode, cudaStream_t stream)
    : store_(store), stream_(stream), pages_(std::move(pages)), decode_(std::move(decode)) {}

absl::StatusOr<std::unique_ptr<PagedAttention>> PagedAttention::Create(const DevicePageStore& store,
                                                                       cudaStream_t stream) {
  const KvLayout& layout = store.layout();
  if (layout.dtype != DType::kBF16 || layout.head_dim > kHeadDimMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("cuda: pages of ", std::string(DTypeName(layout.dtype)), " with head_dim ",
                     layout.head_dim, ": bf16 with at most ", kHeadDimMax, " is possible"));
  }
  const int64_t bytes = layout.page_bytes() * int64_t{store.tables().pages_total};
  ASSIGN_OR_RETURN(CudaBuffer pages, CudaBuffer::Create(MemoryPlace::kDevice, bytes));
  // Kernels read whole pages and mask what no position has written yet.
  RETURN_IF_ERROR(CudaStatus(cudaMemsetAsync(pages.data(), 0, static_cast<size_t>(bytes), stream),
                             "clearing pages"));
  ASSIGN_OR_RETURN(std::unique_ptr<DecodeAttention> decode,
                   DecodeAttention::Create(layout, RoundedRows(store.tables().places), stream));
  return std::unique_ptr<PagedAttention>(
      new PagedAttention(store, std::move(pages), std::move(decode), stream));
}

void PagedAttention::BeginStep(std::span<const StepSequence> sequences, const StepView& step) {
  step_ = step;
  chunk_lengths_.clear();
  decodes_ = long_chunks_ = planned_ = false;
  for (const StepSequence& one : sequences) {
    chunk_lengths_.push_back(std::max(one.length, 1));  // no token now: one when it is replayed
    decodes_ |= one.length <= 1;
    long_chunks_ |= one.length > 1;
  }
}

AttentionCall PagedAttention::CallOf(int64_t layer, Tensor qkv, int64_t heads, Tensor out) const {
  const KvLayout& layout = store_.layout();
  const int64_t kv_heads = layout.kv_heads(layer);
  CHECK(heads % kv_heads == 0 && qkv.cols == (heads + 2 * kv_heads) * layout.head_dim &&
        out.cols == heads * layout.head_dim && qkv.rows == step_.rows &&
        qkv.dtype == DType::kBF16 && out.dtype == DType::kBF16)
      << "attention shapes, layer " << layer;
  AttentionCall call =
      LayerCall(layout, store_.tables(), pages_.data(), step_, layer, heads / kv_heads);
  call.qkv = static_cast<const __nv_bfloat16*>(qkv.data);
  call.out = static_cast<__nv_bfloat16*>(out.data);
  return call;
}

void PagedAttention::Run(int64_t layer, Tensor qkv, std::span<const float> inv_freq, int64_t heads,
                         Tensor out) {
  const int64_t kv_heads = store_.layout().kv_heads(layer);
  if (kv_heads == 0 || step_.rows == 0) return;
  AttentionCall call = CallOf(layer, qkv, heads, out);
  const bool attends = out.rows > 0;
  const bool decode =
      attends && decodes_ && DecodeAttention::Supports(store_.layout(), heads / kv_heads);
  const bool chunks = !decode || long_chunks_;
  if (!inv_freq.empty()) {
    CHECK_EQ(2 * static_cast<int64_t>(inv_freq.size()), int64_t{call.head_dim}) << "rotation";
    if (decode && !long_chunks_) {
      call.inv_freq = inv_freq.data();  // rotated where they are read
    } else {                            // queries and keys lie side by side
      LaunchRope(step_, static_cast<__nv_bfloat16*>(qkv.data), qkv.cols, heads + kv_heads,
                 call.head_dim, inv_freq.data(), stream_);
    }
  }
  if (decode) RunDecodes(call, layer);
  if (chunks && attends) AttendChunks(call);
  if (chunks) LaunchAppend(call, stream_);
  CudaCheck(cudaGetLastError(), "attention");
}

void PagedAttention::RunDecodes(AttentionCall& call, int64_t layer) {
  if (!planned_) {
    decode_->Plan(call.tables, step_, call.heads / call.kv_heads, stream_, call.inv_freq);
  }
  planned_ = true;
  decode_->Launch(call, layer, stream_);
  call.long_chunks_only = true;
}

void PagedAttention::AttendChunks(const AttentionCall& call) {
  if (PrefillFits(call)) {
    int64_t tiles = 0;
    for (const int64_t length : chunk_lengths_) {
      if (call.long_chunks_only && length == 1) continue;
      tiles += PrefillTiles(length, call.heads / call.kv_heads);
    }
    CudaCheck(LaunchPrefill(call, tiles, stream_), "prefill attention");
  } else {
    LaunchAttend(call, stream_);
  }
}

}  // namespace headgate
