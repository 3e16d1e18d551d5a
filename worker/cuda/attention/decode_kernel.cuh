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
                          const WarpParts& parts, int* slot_rows) {
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

// By all threads of the block: emit(part's number, part) for each of a row's parts, merged from
// those of the warps from `slot` on.
template <int kDim, typename Emit>
__device__ void ForEachPart(const WarpParts& parts, int slot, int warp_last, int group, Emit emit) {
  for (int i = static_cast<int>(threadIdx.x); i < group * (kDim / 2); i += blockDim.x) {
    emit(i, MergeWarpParts<kDim>(parts, slot, warp_last, group, i));
  }
}

// Merges the warps' parts of each row of the block. What is whole is written out. Of the one row
// that goes on after the block's tiles, its part goes to the block where that ends; the one that
// began before them and ends here comes last, so that blocks never wait for each other in a chain.
template <int kDim, int kWarps>
__device__ void MergeRows(const DecodeCall& call, int32_t begin, int32_t end,
                          const WarpParts& parts, const int* slot_rows) {
  const AttentionCall& a = call.attention;
  const int group = a.heads / a.kv_heads;
  static_assert(2 * kWarps <= kWarpLanes);
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  const int mine = lane < 2 * kWarps ? slot_rows[lane] : -1;
  const bool continues = lane > 0 && lane % 2 == 0;
  int ending = -1, ending_last = 0;  // its slot, and its last warp
  for (uint32_t firsts = __ballot_sync(kAll, mine >= 0 && !continues); firsts != 0;
       firsts &= firsts - 1) {
    const int slot = __ffs(static_cast<int>(firsts)) - 1;
    const int row = __shfl_sync(kAll, mine, slot);
    const int last =
        slot / 2 + __popc(__ballot_sync(kAll, continues && lane > slot && mine == row));
    const DecodeRow of = call.rows[row];
    const bool began = of.tile_begin >= begin, ends = of.tile_end <= end;
    if (!began && ends) {
      ending = slot;
      ending_last = last;
    } else if (began && ends) {
      ForEachPart<kDim>(parts, slot, last, group,
                        [&](int i, const Part& part) { WriteOut<kDim>(a, of, i, part); });
    } else {
      const int64_t to = 2 * static_cast<int64_t>(blockIdx.x) + (began ? 1 : 0);
      ForEachPart<kDim>(parts, slot, last, group, [&](int i, const Part& part) {
        SendPart(BlockPart<kDim>(call.block_parts, to, group, i), part);
      });
    }
  }
  if (ending < 0) return;
  const DecodeRow of = call.rows[__shfl_sync(kAll, mine, ending)];
  ForEachPart<kDim>(parts, ending, ending_last, group, [&](int i, const Part& part) {
    WriteOut<kDim>(a, of, i,
                   AwaitBlockParts<kDim>(call.block_parts, 2 * of.block_first + 1, of.block_last,
                                         group, i, part));
  });
}

constexpr int64_t DecodeSharedBytes(int warps, int group, int dim) {
  return int64_t{2} * warps * group * (dim * int64_t{4} + int64_t{sizeof(float2)});
}

template <int kDim, int kQueryTiles, int kWarps, int kStages>
__global__ void __launch_bounds__(kWarps* kWarpLanes, 1) DecodeKernel(const DecodeCall call) {
  extern __shared__ float2 shared[];
  __shared__ int slot_rows[2 * kWarps];
  LetNextKernelStart();  // its blocks follow these one by one, with their first tiles' loads
  const int group = call.attention.heads / call.attention.kv_heads;
  const WarpParts parts = {shared, shared + 2 * kWarps * group * (kDim / 2)};
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
  MergeRows<kDim, kWarps>(call, begin, end, parts, slot_rows);
}

}  // namespace headgate
