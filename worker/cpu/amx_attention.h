// Attention over bf16 pages with AMX tiles: scores and weighted values are tile products, softmax
// is attention_kernel.h's. Queries and probabilities are split into two bf16 values (16 bits), keys
// and values are bf16 already; sums are fp32. A row's products do not depend on the other rows of
// its tile. Only included by kernels_amx.cc.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "worker/cpu/amx_config.h"
#include "worker/cpu/amx_matmul.h"
#include "worker/cpu/attention_kernel.h"
#include "worker/cpu/kernel_table.h"
#include "worker/cpu/simd_avx512.h"

namespace headgate {
namespace {

// 32 floats as bf16 pairs: high[i] + low[i] = x[i] to 16 bits.
[[gnu::always_inline]] inline void Split32(const float* x, uint16_t* high, uint16_t* low) {
  for (int i = 0; i < 32; i += 16) {
    const __m512 v = _mm512_loadu_ps(x + i);
    const __m256i h = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(v));
    const __m512 back = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
    const __m256i l = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_sub_ps(v, back)));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(high + i), h);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(low + i), l);
  }
}

// Where a tile of 16 query rows has its split q: [padded_dim / 32][high, low][16][32].
uint16_t* SplitQueries(const AttendState& state, int64_t tile) {
  return reinterpret_cast<uint16_t*>(state.split) + tile * 16 * state.padded_dim * 2;
}

// Split probabilities of the tile at hand: [2 halves of 32 keys][high, low][16][32].
uint16_t* SplitWeights(const AttendState& state) {
  return SplitQueries(state, (state.rows + 15) / 16);
}

void BeginRowsTiles(AttendState& state) {
  BeginRows<Avx512Simd>(state);
  const int64_t steps = state.padded_dim / 32;
  for (int64_t r = 0; r < (state.rows + 15) / 16 * 16; ++r) {
    uint16_t* to = SplitQueries(state, r / 16) + r % 16 * 32;
    for (int64_t s = 0; s < steps; ++s, to += 2 * kTileValues) {
      if (r < state.rows) {
        Split32(state.q + r * state.padded_dim + s * 32, to, to + kTileValues);
      } else {
        _mm512_storeu_si512(to, _mm512_setzero_si512());
        _mm512_storeu_si512(to + kTileValues, _mm512_setzero_si512());
      }
    }
  }
}

// Columns [d, d + 32) of a key or value in bf16.
[[gnu::always_inline]] inline __m512i LoadBf16x32(const AttendState& state, const void* token,
                                                  bool in_pages, int64_t d) {
  const int64_t left = state.head_dim - d;
  if (token == nullptr) return _mm512_setzero_si512();
  if (in_pages) {
    const uint16_t* from = static_cast<const uint16_t*>(token) + d;
    if (left >= 32) return _mm512_loadu_si512(from);
    return _mm512_maskz_loadu_epi16((__mmask32{1} << left) - 1, from);
  }
  alignas(64) uint16_t part[32];
  Avx512Simd::StoreBf16(part, LoadToken<Avx512Simd>(state, token, false, d));
  Avx512Simd::StoreBf16(part + 16, LoadToken<Avx512Simd>(state, token, false, d + 16));
  return _mm512_load_si512(part);
}

// keys: [padded_dim / 32][4][16 pairs of columns][16 keys][2].
// values: [padded_dim / 16][2][16 pairs of keys][16 columns][2].
void LoadBlockTiles(AttendState& state, const KeyBlock& block) {
  const auto at = [&](const void* const* tokens, int j, int64_t d) __attribute__((always_inline)) {
    const void* token = j < block.count ? tokens[j] : nullptr;
    return LoadBf16x32(state, token, (block.in_pages >> j & 1) != 0, d);
  };
  uint16_t* keys = reinterpret_cast<uint16_t*>(state.keys);
  uint16_t* values = reinterpret_cast<uint16_t*>(state.values);
  for (int64_t d = 0; d < state.padded_dim; d += 32) {
    for (int n = 0; n < 4; ++n, keys += kTileValues) {
      __m512 rows[16];
      for (int i = 0; i < 16; ++i) rows[i] = _mm512_castsi512_ps(at(block.key, n * 16 + i, d));
      Avx512Simd::Transpose(rows);
      for (int i = 0; i < 16; ++i) _mm512_store_ps(keys + i * 32, rows[i]);
    }
    uint16_t* left = values + d / 16 * 2 * kTileValues;
    uint16_t* right = left + 2 * kTileValues;
    for (int j = 0; j < kBlockKeys; j += 2, left += 32, right += 32) {
      const __m512i even = at(block.value, j, d), odd = at(block.value, j + 1, d);
      const auto pair = [](__m256i low, __m256i high) __attribute__((always_inline)) {
        return _mm512_or_si512(_mm512_cvtepu16_epi32(low),
                               _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
      };
      _mm512_store_si512(left, pair(_mm512_castsi512_si256(even), _mm512_castsi512_si256(odd)));
      _mm512_store_si512(
          right, pair(_mm512_extracti64x4_epi64(even, 1), _mm512_extracti64x4_epi64(odd, 1)));
    }
  }
}

// Tiles 0, 1 (and 2, 3 when `four`) := sum over steps of (high + low of a) times right-hand tiles.
// b: tile i of step s lies at b + s * step + i * stride.
void MultiplyTiles(const uint16_t* a, const uint16_t* b, int64_t steps, int64_t step,
                   int64_t stride, bool four) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t s = 0; s < steps; ++s, a += 2 * kTileValues, b += step) {
    _tile_loadd(4, a, 64);
    _tile_loadd(5, a + kTileValues, 64);
    _tile_loadd(6, b, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(0, 5, 6);
    _tile_loadd(7, b + stride, 64);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(1, 5, 7);
    if (!four) continue;
    _tile_loadd(6, b + 2 * stride, 64);
    _tile_dpbf16ps(2, 4, 6);
    _tile_dpbf16ps(2, 5, 6);
    _tile_loadd(7, b + 3 * stride, 64);
    _tile_dpbf16ps(3, 4, 7);
    _tile_dpbf16ps(3, 5, 7);
  }
}

void StoreTiles(float* to, bool four) {  // [16][64]
  _tile_stored(0, to, kBlockKeys * 4);
  _tile_stored(1, to + 16, kBlockKeys * 4);
  if (!four) return;
  _tile_stored(2, to + 32, kBlockKeys * 4);
  _tile_stored(3, to + 48, kBlockKeys * 4);
}

// sum = sum * factor + probabilities * values, 64 columns (32 at the end) a time.
void AddValuesTiles(AttendState& state, int64_t tile, int64_t rows, const float* factor) {
  alignas(64) float product[16 * 64];
  const uint16_t* values = reinterpret_cast<const uint16_t*>(state.values);
  for (int64_t d = 0; d < state.padded_dim; d += 64) {
    const bool four = state.padded_dim - d >= 64;
    MultiplyTiles(SplitWeights(state), values + d / 16 * 2 * kTileValues, 2, kTileValues,
                  2 * kTileValues, four);
    StoreTiles(product, four);
    for (int64_t r = 0; r < rows; ++r) {
      float* sum = state.sum + (tile * 16 + r) * state.padded_dim + d;
      const __m512 shrink = _mm512_set1_ps(factor[r]);
      for (int64_t c = 0; c < (four ? 64 : 32); c += 16) {
        const __m512 add = _mm512_load_ps(product + r * 64 + c);
        _mm512_storeu_ps(sum + c, _mm512_fmadd_ps(_mm512_loadu_ps(sum + c), shrink, add));
      }
    }
  }
}

void AttendBlockTiles(AttendState& state, const uint64_t* visible, int) {
  ConfigureTiles(16);
  TileFence();
  uint16_t* weights = SplitWeights(state);
  for (int64_t tile = 0; tile * 16 < state.rows; ++tile) {
    const int64_t rows = state.rows - tile * 16 < 16 ? state.rows - tile * 16 : 16;
    MultiplyTiles(SplitQueries(state, tile), reinterpret_cast<const uint16_t*>(state.keys),
                  state.padded_dim / 32, 4 * kTileValues, kTileValues, true);
    StoreTiles(state.scores + tile * 16 * kBlockKeys, true);
    float factor[16];
    for (int64_t r = 0; r < 16; ++r) {
      uint16_t* split = weights + r * 32;
      factor[r] = 1.0f;
      if (r >= rows || visible[tile * 16 + r] == 0) {
        for (int i = 0; i < 4; ++i) {
          _mm512_storeu_si512(split + i * kTileValues, _mm512_setzero_si512());
        }
        continue;
      }
      factor[r] = WeighRow<Avx512Simd>(state, tile * 16 + r, visible[tile * 16 + r]);
      const float* p = state.scores + (tile * 16 + r) * kBlockKeys;
      Split32(p, split, split + kTileValues);
      Split32(p + 32, split + 2 * kTileValues, split + 3 * kTileValues);
    }
    TileFence();
    AddValuesTiles(state, tile, rows, factor);
  }
  _tile_release();
}

}  // namespace
}  // namespace headgate
