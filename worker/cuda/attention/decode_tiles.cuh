// What a warp of decode attention reads: the addresses of its tiles, a tile's keys and values in
// registers, and the queries. A product's inner index may run in any order that both operands
// share, and that order is chosen so that a lane's 16-byte loads are whole registers of the
// fragments (g = lane / 4, t = lane % 4):
//   K   lane: tokens g, g + 8; of every 32 columns the 8 from 8 t on
//   V   lane: tokens 2t, 2t+1, 2t+8, 2t+9; of every 64 columns the 8 from 8 g on (of the last 32
//       of 96, the 4 from 4 g on)
// Device code.
#pragma once

#include <cstddef>
#include <cstdint>

#include "worker/cuda/attention/decode_launch.h"
#include "worker/cuda/device/async_copy.cuh"
#include "worker/cuda/device/mma.cuh"
#include "worker/cuda/rows/rotation.cuh"
#include "worker/cuda/rows/row_vector.cuh"

namespace headgate {

inline constexpr int kWarpLanes = 32;
inline constexpr uint32_t kAll = ~0u;

// 8 columns of a head of q or k from column 8 `piece` on, turned if turns [kDim] say how (else
// null).
template <int kDim>
__device__ __forceinline__ uint4 TurnedPiece(const __nv_bfloat16* head, const float* turns,
                                             int piece) {
  if (turns == nullptr) return reinterpret_cast<const uint4*>(head)[piece];
  constexpr int kHalf = kDim / 2;
  const bool is_low = piece < kHalf / 8;
  const int at = is_low ? piece * 8 : piece * 8 - kHalf;
  Values<8> low = Load<8>(head + at), high = Load<8>(head + kHalf + at);
  const Values<8> cosines = Load<8>(turns + at), sines = Load<8>(turns + kHalf + at);
  uint32_t words[4];
#pragma unroll
  for (int i = 0; i < 8; ++i) Rotate(low.at[i], high.at[i], cosines.at[i], sines.at[i]);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    words[i] = is_low ? PackBf16(low.at[2 * i], low.at[2 * i + 1])
                      : PackBf16(high.at[2 * i], high.at[2 * i + 1]);
  }
  return {words[0], words[1], words[2], words[3]};
}

template <int kDim>
__device__ const float* TurnsOf(const DecodeCall& call, const DecodeRow& row) {
  return call.turns == nullptr ? nullptr : call.turns + static_cast<int64_t>(row.sequence) * kDim;
}

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

  // The first tile alone, of which `start` knows all.
  __device__ void Take(const DecodeCall& call, const DecodeStart& start, int lane) {
    row = start.row;
    address = AddressOf<kDim>(call, start.place);
    note = lane == 0 ? start.note : 0;
  }

  // Tiles tile..tile + 31, below `end`.
  __device__ void Find(const DecodeCall& call, int32_t tile, int32_t end, int lane) {
    tile += lane;
    note = 0;
    if (tile >= end) return;
    while (tile >= call.rows[row].tile_end) ++row;
    const DecodeRow of = call.rows[row];
    address = AddressOf<kDim>(call, PlaceOfTile(call.attention.tables, of, tile, call.page_shift));
    note = NoteOfTile(of, tile);
  }

  // Tiles that end a row can be read only when the step's token is in them; what else is in them
  // comes closer meanwhile.
  __device__ void PrefetchEnds(int64_t value_bytes) const {
    if ((note & kRowEnds) == 0) return;
    PrefetchToL2(address, kTileTokens * kDim * 2);
    PrefetchToL2(address + value_bytes, kTileTokens * kDim * 2);
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
    const __nv_bfloat16* from = a.qkv + (row.batch_row * heads + head) * kDim;
    const int64_t at = value ? static_cast<int64_t>(a.tables.page_tokens) + token : token;
    reinterpret_cast<uint4*>(tile + at * kDim * 2)[piece] =
        TurnedPiece<kDim>(from, value ? nullptr : TurnsOf<kDim>(call, row), piece);
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
                            float (&sums)[kQueryTiles][kDim / 16][4]) const {
#pragma unroll
    for (int i = 0; i < kWords; ++i) {
      const uint32_t a0 = __byte_perm(v[0][i], v[1][i], 0x5410);
      const uint32_t a1 = __byte_perm(v[0][i], v[1][i], 0x7632);
      const uint32_t a2 = __byte_perm(v[2][i], v[3][i], 0x5410);
      const uint32_t a3 = __byte_perm(v[2][i], v[3][i], 0x7632);
#pragma unroll
      for (int n = 0; n < kQueryTiles; ++n) {
        MultiplyAdd(sums[n][i], a0, a1, a2, a3, p[n][0], p[n][1]);
      }
    }
  }
};

template <int kDim, int kQueryTiles>
__device__ void LoadQueries(const DecodeCall& call, const DecodeRow& row, int lane,
                            uint32_t (&q)[kQueryTiles][kDim / 32][4]) {
  const AttentionCall& a = call.attention;
  const int group = a.heads / a.kv_heads;
  const float* turns = TurnsOf<kDim>(call, row);
#pragma unroll
  for (int n = 0; n < kQueryTiles; ++n) {
    const int query = n * 8 + lane / 4;
    const int64_t at = row.batch_row * static_cast<int64_t>(a.heads + 2 * a.kv_heads) +
                       row.head * group + min(query, group - 1);
#pragma unroll
    for (int j = 0; j < kDim / 32; ++j) {
      const uint4 piece = query < group
                              ? TurnedPiece<kDim>(a.qkv + at * kDim, turns, j * 4 + lane % 4)
                              : uint4{0, 0, 0, 0};
      q[n][j][0] = piece.x;
      q[n][j][1] = piece.y;
      q[n][j][2] = piece.z;
      q[n][j][3] = piece.w;
    }
  }
}

}  // namespace headgate
