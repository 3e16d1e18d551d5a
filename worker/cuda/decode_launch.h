// Picks the decode kernel of a shape. Asynchronous on `stream`; a launch error is what
// cudaGetLastError says.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "worker/cuda/attention.h"
#include "worker/cuda/decode_plan.h"

namespace headgate {

inline constexpr int kDecodeGroupMax = 16;  // query heads of a kv head

struct DecodeCall {
  AttentionCall attention;
  const DecodeRow* rows = nullptr;      // of the layer
  const DecodeStart* starts = nullptr;  // of the layer
  int32_t blocks = 0;                   // as planned
  int32_t warps = 0;
  int32_t stages = 0;
  int32_t page_shift = 0;      // log2(tiles of a page)
  float2* sums = nullptr;      // rows cut over blocks: [2 blocks][group][head_dim / 2]
  float2* stats = nullptr;     // [2 blocks][group]
  int32_t* arrived = nullptr;  // [blocks]; zero between launches
};

void LaunchDecode(const DecodeCall& call, cudaStream_t stream);

}  // namespace headgate
