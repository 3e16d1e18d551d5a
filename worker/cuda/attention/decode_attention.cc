#include "worker/cuda/attention/decode_attention.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "base/status_macros.h"
#include "worker/cuda/attention/decode_launch.h"
#include "worker/cuda/device/arrival.h"
#include "worker/cuda/device/cuda_status.h"

namespace headgate {
bool DecodeAttention::Supports(const KvLayout& layout, int64_t group) {
  return (layout.head_dim == 64 || layout.head_dim == 96 || layout.head_dim == 128) &&
         layout.dtype == DType::kBF16 && layout.page_tokens % kTileTokens == 0 && group >= 1 &&
         group <= kDecodeGroupMax;
}

absl::StatusOr<std::unique_ptr<DecodeAttention>> DecodeAttention::Create(const KvLayout& layout,
                                                                         int64_t sequences_max,
                                                                         cudaStream_t stream) {
  std::unique_ptr<DecodeAttention> attention(new DecodeAttention(layout));
  RETURN_IF_ERROR(attention->Allocate(sequences_max, stream));
  return attention;
}

absl::Status DecodeAttention::Allocate(int64_t sequences_max, cudaStream_t stream) {
  int device = 0, processors = 0, shared_bytes = 0;
  RETURN_IF_ERROR(CudaStatus(cudaGetDevice(&device), "asking for the GPU"));
  RETURN_IF_ERROR(
      CudaStatus(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device),
                 "asking for the GPU's multiprocessors"));
  RETURN_IF_ERROR(CudaStatus(
      cudaDeviceGetAttribute(&shared_bytes, cudaDevAttrMaxSharedMemoryPerMultiprocessor, device),
      "asking for the GPU's shared memory"));
  processor_shared_bytes_ = shared_bytes;
  plan_.layers = static_cast<int32_t>(layout_.layers());
  plan_.sequences_max = static_cast<int32_t>(sequences_max);
  plan_.blocks = processors;
  plan_.page_shift = std::countr_zero(static_cast<uint32_t>(layout_.page_tokens / kTileTokens));
  plan_.starts_max = plan_.blocks * kDecodeWarpsMax + 1;
  plan_.head_dim = static_cast<int32_t>(layout_.head_dim);

  int64_t used = 0;
  const auto cut = [&used](int64_t count, size_t size) {
    const int64_t at = used;
    used += (count * static_cast<int64_t>(size) + 255) / 256 * 256;
    return at;
  };
  const int64_t row_begin = cut(plan_.layers + 1, sizeof(int64_t));
  const int64_t rows =
      cut(static_cast<int64_t>(layout_.rows.size()) * sequences_max, sizeof(DecodeRow));
  const int64_t starts = cut(int64_t{plan_.layers} * plan_.starts_max, sizeof(DecodeStart));
  const int64_t parts_bytes = 2 * plan_.blocks * DecodePartBytes(kDecodeGroupMax, layout_.head_dim);
  const int64_t parts = cut(parts_bytes, 1);
  const int64_t turns = cut(sequences_max * layout_.head_dim, sizeof(float));
  ASSIGN_OR_RETURN(memory_, CudaBuffer::Create(MemoryPlace::kDevice, used));
  plan_.row_begin = reinterpret_cast<const int64_t*>(memory_.data() + row_begin);
  plan_.rows = reinterpret_cast<DecodeRow*>(memory_.data() + rows);
  plan_.starts = reinterpret_cast<DecodeStart*>(memory_.data() + starts);
  plan_.turns = reinterpret_cast<float*>(memory_.data() + turns);
  block_parts_ = reinterpret_cast<uint4*>(memory_.data() + parts);
  RETURN_IF_ERROR(
      CudaStatus(EmptyCells(block_parts_, parts_bytes, stream), "emptying what blocks exchange"));
  return CudaStatus(
      cudaMemcpyAsync(memory_.data() + row_begin, layout_.row_begin.data(),
                      layout_.row_begin.size() * sizeof(int64_t), cudaMemcpyHostToDevice, stream),
      "uploading the layers' rows");
}

void DecodeAttention::Plan(const PageTables& tables, const StepView& step, int64_t group,
                           cudaStream_t stream, const float* inv_freq) {
  CHECK(Supports(layout_, group)) << "no decode kernel for these shapes";
  CHECK_LE(step.sequence_count, plan_.sequences_max) << "sequences of a decode step";
  group_ = group;
  plan_.warps = DecodeWarps(group);
  plan_.inv_freq = inv_freq;
  fresh_ = true;
  LaunchDecodePlan(plan_, tables, step, stream);
  CudaCheck(cudaGetLastError(), "planning decode attention");
}

void DecodeAttention::Launch(const AttentionCall& call, int64_t layer, cudaStream_t stream) {
  CHECK_EQ(call.heads, group_ * call.kv_heads) << "query heads, planned and given";
  CHECK(call.inv_freq == plan_.inv_freq) << "the rotation, planned and given";
  DecodeCall decode;
  decode.attention = call;
  decode.rows = plan_.rows + layout_.row_index(layer, 0) * plan_.sequences_max;
  decode.starts = plan_.starts + layer * plan_.starts_max;
  decode.blocks = plan_.blocks;
  decode.page_shift = plan_.page_shift;
  decode.block_parts = block_parts_;
  decode.processor_shared_bytes = processor_shared_bytes_;
  decode.turns = plan_.inv_freq == nullptr ? nullptr : plan_.turns;
  decode.overlaps = !fresh_;
  fresh_ = false;
  LaunchDecode(decode, stream);
  CudaCheck(cudaGetLastError(), "decode attention");
}

}  // namespace headgate
