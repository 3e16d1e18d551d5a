// Decode attention over pages, for DecodeAttention. One block per multiprocessor stays for the
// whole launch; each of its warps reads a run of tiles (decode_plan.h), whatever rows these are of,
// with the next tiles' loads under way while it works on the current one. Nothing is staged in
// shared memory: keys and values go from global memory to the registers that the tensor cores read.
//
// Both products have the tokens or columns of the page as their 16 rows and the queries of the
// group as their 8 columns, S^T = K Q^T and O^T = V^T P^T, so a small group pads little. A
// product's inner index may run in any order that both operands share, and that order is chosen so
// that a lane's 16-byte loads are whole registers of the fragments (g = lane / 4, t = lane % 4):
//   K   lane: tokens g, g + 8; of every 32 columns the 8 from 8 t on
//   V   lane: tokens 2t, 2t+1, 2t+8, 2t+9; of every 64 columns the 8 from 8 g on (of the last 32
//       of 96, the 4 from 4 g on)
#pragma once

#include <cstddef>
#include <cstdint>

#include "worker/cuda/decode_launch.h"
#include "worker/cuda/decode_merge.cuh"
#include "worker/cuda/launch.cuh"
#include "worker/cuda/mma.cuh"

namespace headgate {

inline constexpr int kWarpLanes = 32;
inline constexpr uint32_t kAll = ~0u;
inline constexpr uint32_t kRowEnds = 256;  // in a tile's note, above its count of visible tokens

template <int kDim>
__device__ std::byte* AddressOf(const DecodeCall& call, uint32_t place) {
  return call.attention.pages + (place >> call.page_shift) * call.attention.page_bytes +
         (place & ((1u << call.page_shift) - 1)) * (kTileTokens * kDim * 2);
}

// The addresses of a warp's tiles, found 32 at a time, one per lane.
template <int kDim>
struct TileQueue {
  const std::byte* address = nullptr;
  uint32_t note = 0;
  int32_t row = 0;  // of the tile before

  // Tiles tile..tile + 31, below `end`.
  __device__ void Find(const DecodeCall& call, int32_t tile, int32_t end, int lane) {
    tile += lane;
    note = 0;
    if (tile >= end) return;
    while (tile >= call.rows[row].tile_end) ++row;
    const DecodeRow of = call.rows[row];
    address = AddressOf<kDim>(call, PlaceOfTile(call.attention.tables, of, tile, call.page_shift));
    note = tile + 1 == of.tile_end ? of.last_tokens | kRowEnds : kTileTokens;
  }

  // Writes the step's own keys and values to those of the found tiles that end a row: they are read
  // later in this warp, and by nobody else.
  __device__ void AppendToEnds(const DecodeCall& call, int lane) {
    for (uint32_t ends = __ballot_sync(kAll, note & kRowEnds); ends != 0; ends &= ends - 1) {
      const int from = __ffs(static_cast<int>(ends)) - 1;
      Append(call, At(from), call.rows[__shfl_sync(kAll, row, from)],
             static_cast<int>(__shfl_sync(kAll, note, from) & (kRowEnds - 1)) - 1, lane);
    }
    row = __shfl_sync(kAll, row, kWarpLanes - 1);
    __syncwarp();
  }

  __device__ std::byte* At(int from) const {
    return reinterpret_cast<std::byte*>(
        __shfl_sync(kAll, reinterpret_cast<uint64_t>(address), from));
  }

 private:
  __device__ static void Append(const DecodeCall& call, std::byte* tile, const DecodeRow& row,
                                int token, int lane) {
    constexpr int kPieces = kDim / 8, kHalf = kWarpLanes / 2;
    const AttentionCall& a = call.attention;
    const bool value = lane >= kHalf;
    const int piece = lane % kHalf;
    if (piece >= kPieces) return;
    const int64_t head = a.heads + row.head + (value ? a.kv_heads : 0);
    const int64_t heads = a.heads + 2 * a.kv_heads;
    const auto* from =
        reinterpret_cast<const uint4*>(a.qkv + (row.batch_row * heads + head) * kDim);
    const int64_t at = value ? static_cast<int64_t>(a.tables.page_tokens) + token : token;
    reinterpret_cast<uint4*>(tile + at * kDim * 2)[piece] = from[piece];
  }
};

// A warp's running softmax over one row: this lane's part of O^T, and for each of its queries
// 8 n + 2 t + {0, 1} the reference score and its own tokens' sum of weights.
template <int kDim, int kQueryTiles>
struct RowState {
  static constexpr int kColumnTiles = kDim / 16;

  float sums[kQueryTiles][kColumnTiles][4];
  float top[kQueryTiles][2];
  float weight[kQueryTiles][2];

  __device__ void Clear() {
#pragma unroll
    for (int n = 0; n < kQueryTiles; ++n) {
#pragma unroll
      for (int i = 0; i < kColumnTiles; ++i) {
#pragma unroll
        for (int k = 0; k < 4; ++k) sums[n][i][k] = 0.0f;
      }
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        top[n][k] = -INFINITY;
        weight[n][k] = 0.0f;
      }
    }
  }

  // The reference score follows the largest one only when that has grown by more than kSlack
  // (weights stay below 2^kSlack): most tiles then need no exchange between lanes.
  __device__ void Raise(const float (&scores)[kQueryTiles][4]) {
    constexpr float kSlack = 8.0f;
    float high[kQueryTiles][2];
    bool higher = false;
#pragma unroll
    for (int n = 0; n < kQueryTiles; ++n) {
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        high[n][k] = fmaxf(scores[n][k], scores[n][k + 2]);
        higher |= high[n][k] > top[n][k] + kSlack;
      }
    }
    if (!__any_sync(kAll, higher)) return;
#pragma unroll
    for (int n = 0; n < kQueryTiles; ++n) {
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        float now = fmaxf(top[n][k], high[n][k]);
        for (int lanes = 4; lanes < kWarpLanes; lanes *= 2) {
          now = fmaxf(now, __shfl_xor_sync(kAll, now, lanes));
        }
        const float keep = Exp2(top[n][k] - now);
        top[n][k] = now;
        weight[n][k] *= keep;
#pragma unroll
        for (int i = 0; i < kColumnTiles; ++i) {
          sums[n][i][k] *= keep;
          sums[n][i][k + 2] *= keep;
        }
      }
    }
  }

  // Weights of a tile's tokens from their scores, as fragments of P^T.
  __device__ void Weigh(const float (&scores)[kQueryTiles][4], uint32_t (&p)[kQueryTiles][2]) {
    Raise(scores);
#pragma unroll
    for (int n = 0; n < kQueryTiles; ++n) {
      float w[4];
#pragma unroll
      for (int k = 0; k < 4; ++k) w[k] = Exp2(scores[n][k] - top[n][k % 2]);
      weight[n][0] += w[0] + w[2];
      weight[n][1] += w[1] + w[3];
      p[n][0] = Transposed(PackBf16(w[0], w[1]));
      p[n][1] = Transposed(PackBf16(w[2], w[3]));
    }
  }

  // Columns of sums[n][i]: this pair, for query 8 n + 2 t + k in elements k and k + 2.
  __device__ static int Pair(int i, int g) {
    if (i < 4) return g * 4 + i;
    return kDim == 128 ? 32 + g * 4 + i - 4 : 32 + g * 2 + i - 4;
  }

  template <typename Emit>  // emit(query, pair, sum, {top, weight})
  __device__ void ForEach(int group, int lane, Emit emit) {
    const int g = lane / 4, t = lane % 4;
#pragma unroll
    for (int n = 0; n < kQueryTiles; ++n) {
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        float all = weight[n][k];
        for (int lanes = 4; lanes < kWarpLanes; lanes *= 2) {
          all += __shfl_xor_sync(kAll, all, lanes);
        }
        const int query = n * 8 + t * 2 + k;
        if (query >= group) continue;
#pragma unroll
        for (int i = 0; i < kColumnTiles; ++i) {
          emit(query, Pair(i, g), float2{sums[n][i][k], sums[n][i][k + 2]}, float2{top[n][k], all});
        }
      }
    }
  }
};

// One tile in flight.
template <int kDim>
struct Tile {
  static constexpr int kWords = kDim / 16;  // of one token's columns in a lane, values

  uint32_t k[kDim / 32][2][4];
  uint32_t v[4][kWords];
  uint32_t note;

  __device__ void Load(const std::byte* tile, int64_t value_bytes, int lane) {
    LoadKeys(tile, lane);
    LoadValues(tile + value_bytes, lane);
  }

  __device__ void LoadKeys(const std::byte* tile, int lane) {
    const std::byte* from = tile + lane / 4 * (kDim * 2) + lane % 4 * 16;
#pragma unroll
    for (int j = 0; j < kDim / 32; ++j) {
      LoadOnce(k[j][0], from + j * 64, uint4{});
      LoadOnce(k[j][1], from + j * 64 + 8 * kDim * 2, uint4{});
    }
  }

  __device__ void LoadValues(const std::byte* values, int lane) {
#pragma unroll
    for (int token = 0; token < 4; ++token) {
      const std::byte* from =
          values + (lane % 4 * 2 + token % 2 + token / 2 * 8) * (kDim * 2) + lane / 4 * 16;
      LoadOnce(v[token], from, uint4{});
      if constexpr (kDim == 128) LoadOnce(v[token] + 4, from + 128, uint4{});
      if constexpr (kDim == 96) LoadOnce(v[token] + 4, from + 128 - lane / 4 * 8, uint2{});
    }
  }

  // Pages hold anything after the last written token, also NaN, which a weight of 0 would keep.
  __device__ void DropValues(int tokens, int lane) {
#pragma unroll
    for (int token = 0; token < 4; ++token) {
      if (lane % 4 * 2 + token % 2 + token / 2 * 8 < tokens) continue;
#pragma unroll
      for (int i = 0; i < kWords; ++i) v[token][i] = 0;
    }
  }

  // scores[n][0..1]: token g, queries 8 n + 2 t + {0, 1}; [2..3]: token g + 8.
  template <int kQueryTiles>
  __device__ void Score(const uint32_t (&q)[kQueryTiles][kDim / 32][4], float scale, int tokens,
                        int lane, float (&scores)[kQueryTiles][4]) const {
#pragma unroll
    for (int n = 0; n < kQueryTiles; ++n) {
      float even[4] = {}, odd[4] = {};  // two sums: half the latency
#pragma unroll
      for (int j = 0; j < kDim / 32; ++j) {
        MultiplyAdd(even, k[j][0][0], k[j][1][0], k[j][0][1], k[j][1][1], q[n][j][0], q[n][j][1]);
        MultiplyAdd(odd, k[j][0][2], k[j][1][2], k[j][0][3], k[j][1][3], q[n][j][2], q[n][j][3]);
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const bool visible = lane / 4 + i / 2 * 8 < tokens;
        scores[n][i] = visible ? (even[i] + odd[i]) * scale : -INFINITY;
      }
    }
  }

  template <int kQueryTiles>
  __device__ void AddValues(const uint32_t (&p)[kQueryTiles][2],
                            RowState<kDim, kQueryTiles>& state) const {
#pragma unroll
    for (int i = 0; i < kWords; ++i) {
      const uint32_t a0 = __byte_perm(v[0][i], v[1][i], 0x5410);
      const uint32_t a1 = __byte_perm(v[0][i], v[1][i], 0x7632);
      const uint32_t a2 = __byte_perm(v[2][i], v[3][i], 0x5410);
      const uint32_t a3 = __byte_perm(v[2][i], v[3][i], 0x7632);
#pragma unroll
      for (int n = 0; n < kQueryTiles; ++n) {
        MultiplyAdd(state.sums[n][i], a0, a1, a2, a3, p[n][0], p[n][1]);
      }
    }
  }
};

template <int kDim, int kQueryTiles>
__device__ void LoadQueries(const AttentionCall& a, const DecodeRow& row, int lane,
                            uint32_t (&q)[kQueryTiles][kDim / 32][4]) {
  const int group = a.heads / a.kv_heads;
#pragma unroll
  for (int n = 0; n < kQueryTiles; ++n) {
    const int query = n * 8 + lane / 4;
    const int64_t at = row.batch_row * static_cast<int64_t>(a.heads + 2 * a.kv_heads) +
                       row.head * group + min(query, group - 1);
    const auto* from = reinterpret_cast<const uint4*>(a.qkv + at * kDim) + lane % 4;
#pragma unroll
    for (int j = 0; j < kDim / 32; ++j) {
      const uint4 piece = query < group ? from[j * 4] : uint4{0, 0, 0, 0};
      q[n][j][0] = piece.x;
      q[n][j][1] = piece.y;
      q[n][j][2] = piece.z;
      q[n][j][3] = piece.w;
    }
  }
}

// Writes a finished row's pair of columns.
template <int kDim>
__device__ void WriteOut(const AttentionCall& a, const DecodeRow& row, int query, int pair,
                         float2 sum, float weight) {
  const int64_t head =
      row.batch_row * static_cast<int64_t>(a.heads) + row.head * (a.heads / a.kv_heads) + query;
  reinterpret_cast<__nv_bfloat162*>(a.out + head * kDim)[pair] =
      __floats2bfloat162_rn(__fdividef(sum.x, weight), __fdividef(sum.y, weight));
}

template <int kDim>
__device__ void Keep(const Partials& to, int slot, int group, int query, int pair, float2 sum,
                     float2 stats) {
  to.sums[(static_cast<int64_t>(slot) * group + query) * (kDim / 2) + pair] = sum;
  if (pair == 0) to.stats[slot * group + query] = stats;
}

// A warp whose tiles begin at `begin` is done with a row, or with its part of one. What lies wholly
// within its tiles is written out; a part is kept, and slot_rows says of which row.
template <int kDim, int kQueryTiles>
__device__ void LeaveRow(const DecodeCall& call, int32_t row, int32_t begin, bool ends,
                         RowState<kDim, kQueryTiles>& state, const Partials& parts,
                         int* slot_rows) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  const int warp = static_cast<int>(threadIdx.x) / kWarpLanes;
  const int group = call.attention.heads / call.attention.kv_heads;
  const DecodeRow of = call.rows[row];
  const bool began = of.tile_begin >= begin;
  if (ends && began) {
    state.ForEach(group, lane, [&](int query, int pair, float2 sum, float2 stats) {
      WriteOut<kDim>(call.attention, of, query, pair, sum, stats.y);
    });
    return;
  }
  const int slot = 2 * warp + (began ? 1 : 0);
  state.ForEach(group, lane, [&](int query, int pair, float2 sum, float2 stats) {
    Keep<kDim>(parts, slot, group, query, pair, sum, stats);
  });
  if (lane == 0) slot_rows[slot] = row;
}

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
  if (start.place != kTileNotWritten) {
    tiles[0].Load(AddressOf<kDim>(call, start.place), value_bytes, lane);
  }
  TileQueue<kDim> queue;
  queue.row = row;
  queue.Find(call, begin, end, lane);
  AwaitEarlierKernels();
  queue.AppendToEnds(call, lane);
#pragma unroll
  for (int s = 0; s < kStages; ++s) {
    if (s >= count) break;
    tiles[s].note = __shfl_sync(kAll, queue.note, s);
    const std::byte* at = queue.At(s);
    if (s > 0 || start.place == kTileNotWritten) tiles[s].Load(at, value_bytes, lane);
  }
  uint32_t q[kQueryTiles][kDim / 32][4];
  LoadQueries<kDim, kQueryTiles>(a, call.rows[row], lane, q);
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
      tile.AddValues(p, state);
      if (next < count) tile.LoadValues(at + value_bytes, lane);

      const bool ends = (note & kRowEnds) != 0, last = i + s + 1 == count;
      if (!ends && !last) continue;
      LeaveRow(call, row, begin, ends, state, parts, slot_rows);
      if (last) break;
      ++row;
      state.Clear();
      LoadQueries<kDim, kQueryTiles>(a, call.rows[row], lane, q);
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
  for (int slot = 0; slot < 2 * kWarps; ++slot) {
    const int row = slot_rows[slot];
    if (row < 0 || (slot > 0 && slot % 2 == 0)) continue;  // even ones continue a row
    int last = slot / 2;
    while (last + 1 < kWarps && slot_rows[2 * (last + 1)] == row) ++last;
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
