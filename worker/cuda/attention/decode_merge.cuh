// Partial results of a softmax-weighted sum, and how they become one. A row's tiles may be read by
// several warps of a block and by several blocks; each leaves its largest score, its sum of weights
// and its weighted sum of values. They are merged in the order of the tiles, so a result depends on
// where the row was cut but never on who came first. Device code.
//
// Every reader, a warp of a block or a block of the grid, has two slots: 2 i + 1 for a row that
// begins within its tiles and goes on after them, 2 i for one that began before. A row cut over
// readers a..b is in the first's slot and then in slots 2 (a + 1), ..., 2 b (of blocks, the last
// keeps its own).
#pragma once

#include <cstdint>

#include "worker/cuda/device/arrival.h"
#include "worker/cuda/device/mma.cuh"

namespace headgate {

// Of a pair of columns of a query.
struct Part {
  float2 sum = {0.0f, 0.0f};  // of weighted values
  float top = -INFINITY;      // score times log2(e)
  float weight = 0.0f;        // sum
};

// Parts of a block's warps, in shared memory.
struct WarpParts {
  float2* sums;   // [slots][group][head_dim / 2]
  float2* stats;  // [slots][group]: {top, weight}
};

__device__ inline int64_t SlotOf(int slot_first, int reader) {
  return reader == 0 ? slot_first : (slot_first / 2 + reader) * 2;
}

// Adds `count` parts to `all`. fetch(base, parts) gives those from `base` on, for those past the
// end what raises no top: one of them again, or a part of nothing. Nothing branches on how many
// there are: the loads of many go out together.
template <int kAtOnce, typename Fetch>
__device__ void Merge(Part& all, int count, Fetch fetch) {
  for (int base = 0; base < count; base += kAtOnce) {
    Part parts[kAtOnce];
    fetch(base, parts);
    float top = all.top;
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) top = fmaxf(top, parts[k].top);
    const float keep = Exp2(all.top - top);
    all.top = top;
    all.weight *= keep;
    all.sum = {all.sum.x * keep, all.sum.y * keep};
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) {
      const float weight = base + k < count ? Exp2(parts[k].top - top) : 0.0f;
      all.weight += parts[k].weight * weight;
      all.sum.x += parts[k].sum.x * weight;
      all.sum.y += parts[k].sum.y * weight;
    }
  }
}

// Part i of a row, counted over its queries, from those of the block's warps slot_first / 2 to
// warp_last.
template <int kDim>
__device__ Part MergeWarpParts(const WarpParts& from, int slot_first, int warp_last, int group,
                               int i) {
  constexpr int kAtOnce = 6;
  const int count = warp_last - slot_first / 2 + 1;
  Part all;
  Merge<kAtOnce>(all, count, [&](int base, Part(&parts)[kAtOnce]) {
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) {
      const int64_t at = SlotOf(slot_first, min(base + k, count - 1)) * group;
      const float2 stats = from.stats[at + i / (kDim / 2)];
      parts[k].sum = from.sums[at * (kDim / 2) + i];
      parts[k].top = stats.x;
      parts[k].weight = stats.y;
    }
  });
  return all;
}

// Parts of blocks, [slots][group][head_dim / 2], a cell each: the block where a row ends awaits
// them from the others. Empty between launches.
template <int kDim>
__device__ uint4* BlockPart(uint4* cells, int64_t slot, int group, int i) {
  return cells + slot * group * (kDim / 2) + i;
}

__device__ inline void SendPart(uint4* to, const Part& part) {
  StoreCell(to, NeverEmpty(make_uint4(__float_as_uint(part.sum.x), __float_as_uint(part.sum.y),
                                      __float_as_uint(part.top), __float_as_uint(part.weight))));
}

// Part i of a row from those that blocks slot_first / 2 to block_last - 1 send, and from `own` of
// block_last. REQUIRES: the blocks before this one run, or have run; none waits before it has sent.
template <int kDim>
__device__ Part AwaitBlockParts(uint4* from, int slot_first, int block_last, int group, int i,
                                const Part& own) {
  constexpr int kAtOnce = 17;
  const uint4 kNothing = {0, 0, 0xff800000u, 0};  // a part without tokens: its top is -inf
  const int sent = block_last - slot_first / 2;
  const auto cell_of = [&](int reader) {
    return BlockPart<kDim>(from, SlotOf(slot_first, min(reader, sent - 1)), group, i);
  };
  Part all;
  Merge<kAtOnce>(all, sent, [&](int base, Part(&parts)[kAtOnce]) {
    uint4 cells[kAtOnce];
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) cells[k] = base + k < sent ? Empty() : kNothing;
    bool arrived;
    do {
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k) {
        LoadCellIf(!Arrived(cells[k]), cell_of(base + k), &cells[k]);
      }
      arrived = true;
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k) arrived = arrived && Arrived(cells[k]);
    } while (!arrived);
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) {
      parts[k].sum = {__uint_as_float(cells[k].x), __uint_as_float(cells[k].y)};
      parts[k].top = __uint_as_float(cells[k].z);
      parts[k].weight = __uint_as_float(cells[k].w);
      if (base + k < sent) EmptyCell(cell_of(base + k));
    }
  });
  Merge<1>(all, 1, [&own](int, Part(&parts)[1]) { parts[0] = own; });
  return all;
}

}  // namespace headgate
