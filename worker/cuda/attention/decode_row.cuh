// A warp's running softmax over one row of decode attention, and where its result goes. Device
// code.
#pragma once

#include <cstdint>

#include "worker/cuda/attention/decode_launch.h"
#include "worker/cuda/attention/decode_merge.cuh"
#include "worker/cuda/attention/decode_tiles.cuh"
#include "worker/cuda/device/mma.cuh"

namespace headgate {

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

// Writes a finished row's pair of columns.
template <int kDim>
__device__ void WriteOut(const AttentionCall& a, const DecodeRow& row, int query, int pair,
                         float2 sum, float weight) {
  const int64_t head =
      row.batch_row * static_cast<int64_t>(a.heads) + row.head * (a.heads / a.kv_heads) + query;
  reinterpret_cast<__nv_bfloat162*>(a.out + head * kDim)[pair] =
      __floats2bfloat162_rn(__fdividef(sum.x, weight), __fdividef(sum.y, weight));
}

// Part i of the row.
template <int kDim>
__device__ void WriteOut(const AttentionCall& a, const DecodeRow& row, int i, const Part& part) {
  WriteOut<kDim>(a, row, i / (kDim / 2), i % (kDim / 2), part.sum, part.weight);
}

template <int kDim>
__device__ void Keep(const WarpParts& to, int slot, int group, int query, int pair, float2 sum,
                     float2 stats) {
  to.sums[(slot * group + query) * (kDim / 2) + pair] = sum;
  if (pair == 0) to.stats[slot * group + query] = stats;
}

// A warp whose tiles begin at `begin` is done with a row, or with its part of one. What lies wholly
// within its tiles is written out; a part is kept, and slot_rows says of which row.
template <int kDim, int kQueryTiles>
__device__ void LeaveRow(const DecodeCall& call, int32_t row, int32_t begin, bool ends,
                         RowState<kDim, kQueryTiles>& state, const WarpParts& parts,
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

}  // namespace headgate
