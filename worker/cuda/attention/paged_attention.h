// Attention of whole steps over pages in device memory: which kernel takes which rows. Owns the
// pages' bytes; their tables are the store's. The worker's step thread owns it.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/cuda/attention/attention.h"
#include "worker/cuda/attention/decode_attention.h"
#include "worker/cuda/device/device_buffer.h"
#include "worker/cuda/pages/device_page_store.h"
#include "worker/cuda/step_view.h"
#include "worker/tensor.h"

namespace headgate {

class PagedAttention {
 public:
  // Memory for the store's pages. `store` and `stream` must outlive the result. RESOURCE_EXHAUSTED
  // when there is no memory, INVALID_ARGUMENT for a layout that has no kernels.
  static absl::StatusOr<std::unique_ptr<PagedAttention>> Create(const DevicePageStore& store,
                                                                cudaStream_t stream);

  int64_t page_bytes() const { return pages_.bytes(); }

  // The rows that Run works on until the next call; `sequences` are the step's, on the host. The
  // store has begun the same step.
  void BeginStep(std::span<const StepSequence> sequences, const StepView& step);
  // No sequence of the step has more than one row.
  bool decodes_only() const { return !long_chunks_; }
  // The next Run of the step plans again: what was launched since BeginStep did not run.
  void ForgetPlan() { planned_ = false; }

  // Backend::AttendAndAppend, in bf16.
  void Run(int64_t layer, Tensor qkv, std::span<const float> inv_freq, int64_t heads, Tensor out);

 private:
  PagedAttention(const DevicePageStore& store, CudaBuffer pages,
                 std::unique_ptr<DecodeAttention> decode, cudaStream_t stream);
  AttentionCall CallOf(int64_t layer, Tensor qkv, int64_t heads, Tensor out) const;
  void RunDecodes(AttentionCall& call, int64_t layer);
  void AttendChunks(const AttentionCall& call);

  const DevicePageStore& store_;
  const cudaStream_t stream_;
  const CudaBuffer pages_;
  const std::unique_ptr<DecodeAttention> decode_;
  StepView step_;
  std::vector<int64_t> chunk_lengths_;  // of the step's sequences
  bool decodes_ = false;                // some sequence of the step has one row
  bool long_chunks_ = false;            // some has more
  bool planned_ = false;                // decode_ knows the step
};

}  // namespace headgate
