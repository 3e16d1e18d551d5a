// Picks the decode kernel of a shape. Asynchronous on `stream`; a launch error is what
// cudaGetLastError says.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "worker/cuda/attention/attention.h"
#include "worker/cuda/attention/decode_plan.h"

namespace headgate {

inline constexpr int kDecodeGroupMax = 16;  // query heads of a kv head
inline constexpr int kDecodeWarpsMax = 12;  // of a block

// Of a block, by the number of query heads of a kv head: as many as registers allow.
constexpr int DecodeWarps(int64_t group) { return group <= 8 ? kDecodeWarpsMax : 8; }

struct DecodeCall {
  AttentionCall attention;
  const DecodeRow* rows = nullptr;      // of the layer
  const DecodeStart* starts = nullptr;  // of the layer
  int32_t blocks = 0;                   // as planned
  int32_t page_shift = 0;               // log2(tiles of a page)
  float2* sums = nullptr;               // rows cut over blocks: [2 blocks][group][head_dim / 2]
  float2* stats = nullptr;              // [2 blocks][group]
  // Some launch after the plan waited for all before it: this one may start while the one before it
  // still runs (launch.cuh), and read the plan, tables and earlier steps' tokens at once.
  bool overlaps = false;
  const float* turns = nullptr;        // DecodePlan::turns; null: q and k are rotated
  int64_t processor_shared_bytes = 0;  // shared memory of a multiprocessor
  int32_t* arrived = nullptr;          // [blocks]; zero between launches
};

void LaunchDecode(const DecodeCall& call, cudaStream_t stream);

}  // namespace headgate
