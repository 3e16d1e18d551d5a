// Attention over paged rows. Two kernels for every step: one reads what each query sees
// (kvstore/visibility.h) from pages and from the chunk itself, the other then writes the chunk's
// keys and values where a later query can still see them. Asynchronous on `stream`.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "worker/cuda/pages/page_tables.h"
#include "worker/cuda/step_view.h"

namespace headgate {

struct AttentionCall {
  StepView step;
  PageTables tables;
  std::byte* pages =
      nullptr;  // page p at byte p * page_bytes: K [page_tokens, D], V after it, bf16
  int64_t page_bytes = 0;
  int32_t row_begin = 0;  // the layer's first row in the tables
  int32_t kv_heads = 0;
  int32_t heads = 0;  // a multiple of kv_heads
  int32_t head_dim = 0;
  const __nv_bfloat16* qkv = nullptr;  // [rows, (heads + 2 kv_heads) D]: q and k, rotated, v
  __nv_bfloat16* out = nullptr;        // [rows, heads D]
  bool long_chunks_only = false;       // LaunchAttend, LaunchAppend: not chunks of one row
  // DecodeAttention: q and k are not rotated yet, and are so by these [D / 2]; null: they are.
  const float* inv_freq = nullptr;
};

inline constexpr int kHeadDimMax = 256;

void LaunchAttend(const AttentionCall& call, cudaStream_t stream);
void LaunchAppend(const AttentionCall& call, cudaStream_t stream);

}  // namespace headgate
