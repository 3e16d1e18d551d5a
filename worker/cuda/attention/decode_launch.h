// Picks the decode kernel of a shape. Asynchronous on `stream`; a launch error is what
// cudaGetLastError says.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "worker/cuda/attention/attention.h"
#include "worker/cuda/attention/decode_plan.h"
#include "worker/cuda/device/arrival.h"

namespace headgate {

inline constexpr int kDecodeGroupMax = 16;  // query heads of a kv head
inline constexpr int kDecodeWarpsMax = 12;  // of a block

// Of a block, by the number of query heads of a kv head: as many as registers allow.
constexpr int DecodeWarps(int64_t group) { return group <= 8 ? kDecodeWarpsMax : 8; }

// What a block sends of a row: a cell for each pair of columns of a query (decode_merge.cuh).
constexpr int64_t DecodePartBytes(int64_t group, int64_t head_dim) {
  return group * (head_dim / 2) * kCellBytes;
}

struct DecodeCall {
  AttentionCall attention;
  const DecodeRow* rows = nullptr;      // of the layer
  const DecodeStart* starts = nullptr;  // of the layer
  int32_t blocks = 0;                   // as planned
  int32_t page_shift = 0;               // log2(tiles of a page)
  uint4* block_parts = nullptr;         // [2 blocks][DecodePartBytes]; empty between launches
  // Some launch after the plan waited for all before it: this one may start while the one before it
  // still runs (launch.cuh), and read the plan, tables and earlier steps' tokens at once.
  bool overlaps = false;
  const float* turns = nullptr;        // DecodePlan::turns; null: q and k are rotated
  int64_t processor_shared_bytes = 0;  // shared memory of a multiprocessor
};

void LaunchDecode(const DecodeCall& call, cudaStream_t stream);

}  // namespace headgate
