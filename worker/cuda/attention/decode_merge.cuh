// Partial results of a softmax-weighted sum, and how they become one. A row's tiles may be read by
// several warps of a block and by several blocks; each leaves its largest score, its sum of weights
// and its weighted sum of values. They are merged in the order of the tiles, so a result depends on
// where the row was cut but never on who came first. Device code.
//
// Every reader has two slots: 2 i + 1 for a row that begins within its tiles and goes on after
// them, 2 i for one that began before. A row cut over readers a..b is in the first's slot and then
// in slots 2 (a + 1), ..., 2 b.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "worker/cuda/device/mma.cuh"

namespace headgate {

// In shared or global memory.
struct Partials {
  float2* sums;   // [slots][group][head_dim / 2]: pairs of columns
  float2* stats;  // [slots][group]: {top score times log2(e), sum of weights}
};

// By all threads of the block. emit(query, pair of columns, sum of values, {top, weight}) is called
// once for each. kShared: else written by other blocks, read past L1. Nothing branches on how many
// readers there are: the loads of many go out together.
template <int kDim, bool kShared, typename Emit>
__device__ void MergePartials(const Partials& from, int slot_first, int reader_last, int group,
                              Emit emit) {
  constexpr int kPieces = kDim / 4;          // of two pairs
  constexpr int kAtOnce = kShared ? 6 : 17;  // readers
  const int readers = reader_last - slot_first / 2 + 1;
  for (int i = static_cast<int>(threadIdx.x); i < group * kPieces; i += blockDim.x) {
    const float4* sums_at = reinterpret_cast<const float4*>(from.sums) + i;
    const float2* stats_at = from.stats + i / kPieces;
    float4 sum = {0.0f, 0.0f, 0.0f, 0.0f};
    float2 stats = {-INFINITY, 0.0f};
    for (int base = 0; base < readers; base += kAtOnce) {
      float4 sums[kAtOnce];
      float2 parts[kAtOnce];
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k) {
        const int reader = min(base + k, readers - 1);
        const int slot = reader == 0 ? slot_first : (slot_first / 2 + reader) * 2;
        sums[k] =
            kShared ? sums_at[slot * group * kPieces] : __ldcg(sums_at + slot * group * kPieces);
        parts[k] = kShared ? stats_at[slot * group] : __ldcg(stats_at + slot * group);
      }
      float top = stats.x;
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k) top = fmaxf(top, parts[k].x);
      const float keep = Exp2(stats.x - top);
      stats = {top, stats.y * keep};
      sum = {sum.x * keep, sum.y * keep, sum.z * keep, sum.w * keep};
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k) {
        const float weight = base + k < readers ? Exp2(parts[k].x - top) : 0.0f;
        stats.y += parts[k].y * weight;
        sum.x += sums[k].x * weight;
        sum.y += sums[k].y * weight;
        sum.z += sums[k].z * weight;
        sum.w += sums[k].w * weight;
      }
    }
    const int query = i / kPieces, pair = i % kPieces * 2;
    emit(query, pair, float2{sum.x, sum.y}, stats);
    emit(query, pair + 1, float2{sum.z, sum.w}, stats);
  }
}

}  // namespace headgate
