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

namespace headgate {

// In shared or global memory.
struct Partials {
  float2* sums;   // [slots][group][head_dim / 2]: pairs of columns
  float2* stats;  // [slots][group]: {top score times log2(e), sum of weights}
};

// By all threads of the block. emit(query, pair of columns, sum of values, {top, weight}) is called
// once for each. kShared: else written by other blocks, read past L1.
template <int kDim, bool kShared, typename Emit>
__device__ void MergePartials(const Partials& from, int slot_first, int reader_last, int group,
                              Emit emit) {
  constexpr int kPairs = kDim / 2;
  constexpr int kAtOnce = kShared ? 8 : 18;  // loads in flight
  const int readers = reader_last - slot_first / 2 + 1;
  for (int i = static_cast<int>(threadIdx.x); i < group * kPairs; i += blockDim.x) {
    float2 sum = {0.0f, 0.0f}, stats = {-INFINITY, 0.0f};
    for (int base = 0; base < readers; base += kAtOnce) {
      float2 sums[kAtOnce], parts[kAtOnce];
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k) {
        parts[k] = {-INFINITY, 0.0f};
        sums[k] = {0.0f, 0.0f};
        if (base + k >= readers) continue;
        const int slot = base + k == 0 ? slot_first : (slot_first / 2 + base + k) * 2;
        const float2* sum_at = from.sums + static_cast<int64_t>(slot) * group * kPairs + i;
        const float2* stats_at = from.stats + slot * group + i / kPairs;
        sums[k] = kShared ? *sum_at : __ldcg(sum_at);
        parts[k] = kShared ? *stats_at : __ldcg(stats_at);
      }
      float top = stats.x;
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k) top = fmaxf(top, parts[k].x);
      const float keep = exp2f(stats.x - top);
      stats = {top, stats.y * keep};
      sum = {sum.x * keep, sum.y * keep};
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k) {
        const float weight = exp2f(parts[k].x - top);
        stats.y += parts[k].y * weight;
        sum.x += sums[k].x * weight;
        sum.y += sums[k].y * weight;
      }
    }
    emit(i / kPairs, i % kPairs, sum, stats);
  }
}

}  // namespace headgate
