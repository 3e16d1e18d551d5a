// Decode attention over pages, for DecodeAttention. One block per multiprocessor stays for the
// whole launch; each of its warps reads a run of tiles (decode_plan.h), whatever rows these are of,
// with the next tiles' loads under way while it works on the current one. Nothing is staged in
// shared memory: keys and values go from global memory to the registers that the tensor cores read.
//
// Both products have the tokens or columns of the page as their 16 rows and the queries of the
// group as their 8 columns, S^T = K Q^T and O^T = V^T P^T, so a small group pads little.
#pragma once

#include <cstddef>
#include <cstdint>

#include "worker/cuda/attention/decode_launch.h"
#include "worker/cuda/attention/decode_merge.cuh"
#include "worker/cuda/attention/decode_row.cuh"
#include "worker/cuda/attention/decode_tiles.cuh"
#include "worker/cuda/device/launch.cuh"

namespace headgate {

// A warp's tiles, from `start` to `end`, whatever rows these are of.
template <int kDim, int kQueryTiles, int kStages>
__device__ void ReadTiles(const DecodeCall& call, const DecodeStart& start, int32_t end,
                          const Partials& parts, int* slot_rows) {
  const AttentionCall& a = call.attention;
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  const int64_t value_bytes = static_cast<int64_t>(a.tables.page_tokens) * kDim * 2;
  const float scale = rsqrtf(static_cast<float>(kDim)) * 1.4426950408889634f;  // log2(e)
  const int32_t begin = start.tile, count = end - begin;
  int32_t row = start.row;

  // Before the wait: only what earlier steps wrote.
  Tile<kDim> tiles[kStages];
  const bool early = (start.note & kRowEnds) == 0;
  if (early) tiles[0].Load(AddressOf<kDim>(call, start.place), value_bytes, lane);
  TileQueue<kDim> queue;
  queue.Take(call, start, lane);
  if (lane == 0 && call.turns != nullptr) {
    PrefetchToL2(TurnsOf<kDim>(call, call.rows[row]), kDim * sizeof(float));
  }
  if (count > 1) queue.Find(call, begin, end, lane);
  queue.PrefetchEnds(value_bytes);
  AwaitEarlierKernels();
  queue.AppendToEnds(call, lane);
#pragma unroll
  for (int s = 0; s < kStages; ++s) {
    if (s >= count) break;
    tiles[s].note = __shfl_sync(kAll, queue.note, s);
    const std::byte* at = queue.At(s);
    if (s > 0 || !early) tiles[s].Load(at, value_bytes, lane);
  }
  uint32_t q[kQueryTiles][kDim / 32][4];
  LoadQueries<kDim, kQueryTiles>(call, call.rows[row], lane, q);
  RowState<kDim, kQueryTiles> state;
  state.Clear();

  for (int32_t i = 0; i < count; i += kStages) {
#pragma unroll
    for (int s = 0; s < kStages; ++s) {
      if (i + s >= count) break;
      Tile<kDim>& tile = tiles[s];
      const uint32_t note = tile.note;
      const int tokens = static_cast<int>(note & (kRowEnds - 1));
      float scores[kQueryTiles][4];
      tile.Score(q, scale, tokens, lane, scores);
      const int32_t next = i + s + kStages;
      const std::byte* at = nullptr;
      if (next < count) {
        if (next % kWarpLanes == 0) {
          queue.Find(call, begin + next, end, lane);
          queue.AppendToEnds(call, lane);
        }
        at = queue.At(next % kWarpLanes);
        tile.note = __shfl_sync(kAll, queue.note, next % kWarpLanes);
        tile.LoadKeys(at, lane);
      }
      uint32_t p[kQueryTiles][2];
      state.Weigh(scores, p);
      if (tokens < kTileTokens) tile.DropValues(tokens, lane);
      tile.AddValues(p, state.sums);
      if (next < count) tile.LoadValues(at + value_bytes, lane);

      const bool ends = (note & kRowEnds) != 0, last = i + s + 1 == count;
      if (!ends && !last) continue;
      LeaveRow(call, row, begin, ends, state, parts, slot_rows);
      if (last) break;
      ++row;
      state.Clear();
      LoadQueries<kDim, kQueryTiles>(call, call.rows[row], lane, q);
    }
  }
}

// Merges the warps' parts of each row. Rows within the block's tiles are written out, parts of the
// others go to memory; open[1] is the one that began here, open[0] one that began before, or -1.
template <int kDim, int kWarps>
__device__ void MergeWarps(const DecodeCall& call, int32_t begin, int32_t end,
                           const Partials& parts, const int* slot_rows, int (&open)[2]) {
  const AttentionCall& a = call.attention;
  const int group = a.heads / a.kv_heads;
  open[0] = open[1] = -1;
  static_assert(2 * kWarps <= kWarpLanes);
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  const int mine = lane < 2 * kWarps ? slot_rows[lane] : -1;
  const bool continues = lane > 0 && lane % 2 == 0;
  for (uint32_t firsts = __ballot_sync(kAll, mine >= 0 && !continues); firsts != 0;
       firsts &= firsts - 1) {
    const int slot = __ffs(static_cast<int>(firsts)) - 1;
    const int row = __shfl_sync(kAll, mine, slot);
    const int last =
        slot / 2 + __popc(__ballot_sync(kAll, continues && lane > slot && mine == row));
    const DecodeRow of = call.rows[row];
    if (of.tile_begin >= begin && of.tile_end <= end) {
      MergePartials<kDim, true>(parts, slot, last, group,
                                [&](int query, int pair, float2 sum, float2 stats) {
                                  WriteOut<kDim>(a, of, query, pair, sum, stats.y);
                                });
      continue;
    }
    const int began_here = of.tile_begin >= begin ? 1 : 0;
    const int to = 2 * static_cast<int>(blockIdx.x) + began_here;
    MergePartials<kDim, true>(
        parts, slot, last, group, [&](int query, int pair, float2 sum, float2 stats) {
          Keep<kDim>({call.sums, call.stats}, to, group, query, pair, sum, stats);
        });
    if (began_here != 0) {
      open[1] = row;
    } else {
      open[0] = row;
    }
  }
}

// Returns the value before. What the block wrote before its last barrier is visible to a block that
// sees the sum, after its next barrier.
__device__ inline int32_t AddAcrossBlocks(int32_t* to, int32_t value) {
  int32_t before;
  asm volatile("atom.add.acq_rel.gpu.global.s32 %0, [%1], %2;"
               : "=r"(before)
               : "l"(to), "r"(value)
               : "memory");
  return before;
}

// Rows cut over blocks are finished by the last of their blocks that gets here.
template <int kDim>
__device__ void FinishRows(const DecodeCall& call, const int (&open)[2], bool* finishes) {
  __syncthreads();  // every thread's part is written
  if (threadIdx.x < 2) {
    const int row = threadIdx.x == 0 ? open[0] : open[1];
    bool last = false;
    if (row >= 0) {
      const DecodeRow of = call.rows[row];
      int32_t* arrived = call.arrived + of.block_first;
      last = AddAcrossBlocks(arrived, 1) == of.block_last - of.block_first;
      if (last) *arrived = 0;  // for the next launch
    }
    finishes[threadIdx.x] = last;
  }
  __syncthreads();
  const AttentionCall& a = call.attention;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if (!finishes[i]) continue;
    const DecodeRow of = call.rows[open[i]];
    MergePartials<kDim, false>({call.sums, call.stats}, 2 * of.block_first + 1, of.block_last,
                               a.heads / a.kv_heads,
                               [&](int query, int pair, float2 sum, float2 stats) {
                                 WriteOut<kDim>(a, of, query, pair, sum, stats.y);
                               });
  }
}

constexpr int64_t DecodeSharedBytes(int warps, int group, int dim) {
  return int64_t{2} * warps * group * (dim * int64_t{4} + int64_t{sizeof(float2)});
}

template <int kDim, int kQueryTiles, int kWarps, int kStages>
__global__ void __launch_bounds__(kWarps* kWarpLanes, 1) DecodeKernel(const DecodeCall call) {
  extern __shared__ float2 shared[];
  __shared__ int slot_rows[2 * kWarps];
  __shared__ bool finishes[2];
  LetNextKernelStart();  // its blocks follow these one by one, with their first tiles' loads
  const int group = call.attention.heads / call.attention.kv_heads;
  const Partials parts = {shared, shared + 2 * kWarps * group * (kDim / 2)};
  const DecodeStart* starts = call.starts + blockIdx.x * kWarps;
  const int warp = static_cast<int>(threadIdx.x) / kWarpLanes;
  const DecodeStart mine = starts[warp];
  const int32_t mine_end = starts[warp + 1].tile;
  const int32_t begin = starts[0].tile, end = starts[kWarps].tile;
  if (threadIdx.x % kWarpLanes < 2) slot_rows[2 * warp + threadIdx.x % kWarpLanes] = -1;
  __syncwarp();
  if (mine.tile < mine_end) {
    ReadTiles<kDim, kQueryTiles, kStages>(call, mine, mine_end, parts, slot_rows);
  } else {
    AwaitEarlierKernels();
  }
  if (begin == end) return;
  __syncthreads();
  int open[2];
  MergeWarps<kDim, kWarps>(call, begin, end, parts, slot_rows, open);
  if (open[0] >= 0 || open[1] >= 0) FinishRows<kDim>(call, open, finishes);
}

}  // namespace headgate
