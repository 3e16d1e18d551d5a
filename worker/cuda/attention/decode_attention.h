// Attention of a step's decoding sequences (one token each) at the speed of memory: every visible
// page is read once. The kernel itself writes the token's key and value to their page.
//
// A row's result depends on where its tiles are cut, and that on its batch mates: by rounding only,
// and the same batch gives the same bits.
//
// The worker's step thread owns it.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "kvstore/kv_layout.h"
#include "worker/cuda/attention/attention.h"
#include "worker/cuda/attention/decode_plan.h"
#include "worker/cuda/device/device_buffer.h"

namespace headgate {

class DecodeAttention {
 public:
  // Is there a kernel for these shapes? Else LaunchAttend does the work.
  static bool Supports(const KvLayout& layout, int64_t group);

  // For steps of at most `sequences_max` sequences. RESOURCE_EXHAUSTED when device memory lacks.
  static absl::StatusOr<std::unique_ptr<DecodeAttention>> Create(const KvLayout& layout,
                                                                 int64_t sequences_max,
                                                                 cudaStream_t stream);

  // Plans all layers of a step, each with `group` query heads a kv head; its pages are in the
  // tables already. inv_freq [head_dim / 2] in device memory: Launch rotates q and k by it, in
  // half-split (NeoX) order; null: they come rotated. REQUIRES: the step's upload, or another copy,
  // lies between the last Launch, or what wrote the tables, and this. Asynchronous.
  void Plan(const PageTables& tables, const StepView& step, int64_t group, cudaStream_t stream,
            const float* inv_freq = nullptr);

  // For the sequences of the last planned step with one token: appends to pages, then attends; the
  // others' rows of `out` stay as they are. REQUIRES: the planned group and inv_freq. Asynchronous.
  void Launch(const AttentionCall& call, int64_t layer, cudaStream_t stream);

 private:
  explicit DecodeAttention(const KvLayout& layout) : layout_(layout) {}
  absl::Status Allocate(int64_t sequences_max, cudaStream_t stream);

  const KvLayout layout_;
  CudaBuffer memory_;
  DecodePlan plan_;
  int64_t group_ = 0;  // planned
  int64_t processor_shared_bytes_ = 0;
  bool fresh_ = false;  // no launch since the plan
  uint4* block_parts_ = nullptr;
};

}  // namespace headgate
