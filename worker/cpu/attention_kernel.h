// Attention of a few query rows over one block of 64 keys after another, with a running maximum
// (online softmax: Milakov & Gimelshein, 2018), over the names of simd_scalar.h (S). fp32
// arithmetic; keys transposed so that 16 of them share a register. Only included by the
// kernels_*.cc files.
//
// Arithmetic of one row and block: score[j] = sum over d of fma(q[d], k[j][d]), d rising;
// p[j] = exp(score[j] - top); weight = weight * c + p (16 partial sums); sum = fma(p[j], v[j], sum
// * c), j rising. Absent and invisible keys add exact zeros, so it does not matter which of them a
// call has.
#pragma once

#include <cstdint>

#include "worker/cpu/kernel_table.h"
#include "worker/cpu/row_kernel.h"

namespace headgate {
namespace {

inline constexpr float kNoScore = -__builtin_inff();

template <class S>
void BeginRows(AttendState& state) {
  for (int64_t r = 0; r < state.rows; ++r) {
    state.top[r] = kNoScore;
    S::Store(state.weight + r * 16, S::Zero());
  }
  for (int64_t i = 0; i < state.rows * state.padded_dim; i += 16) {
    S::Store(state.sum + i, S::Zero());
  }
}

// Columns [d, d + 16) of one key or value as floats, rounded like a page.
template <class S>
[[gnu::always_inline]] inline typename S::V LoadToken(const AttendState& state, const void* token,
                                                      bool in_pages, int64_t d) {
  const int64_t left = state.head_dim - d;
  if (token == nullptr || left <= 0) return S::Zero();
  if (!in_pages || !state.bf16_pages) {
    const float* from = static_cast<const float*>(token) + d;
    const typename S::V v = left >= 16 ? S::Load(from) : S::LoadN(from, static_cast<int>(left));
    return state.bf16_pages ? S::RoundBf16(v) : v;
  }
  const uint16_t* from = static_cast<const uint16_t*>(token) + d;
  if (left >= 16) return S::LoadBf16(from);
  uint16_t part[16] = {};
  for (int64_t i = 0; i < left; ++i) part[i] = from[i];
  return S::LoadBf16(part);
}

// keys: float [padded_dim][64]; values: float [64][padded_dim].
template <class S>
void LoadBlock(AttendState& state, const KeyBlock& block) {
  float* keys = reinterpret_cast<float*>(state.keys);
  float* values = reinterpret_cast<float*>(state.values);
  for (int j = 0; j < kBlockKeys; j += 16) {
    for (int64_t d = 0; d < state.padded_dim; d += 16) {
      typename S::V rows[16];
      for (int i = 0; i < 16; ++i) {
        const bool present = j + i < block.count;
        rows[i] = present ? LoadToken<S>(state, block.key[j + i], block.in_pages >> (j + i) & 1, d)
                          : S::Zero();
      }
      S::Transpose(rows);
      for (int i = 0; i < 16; ++i) S::Store(keys + (d + i) * kBlockKeys + j, rows[i]);
    }
  }
  for (int j = 0; j < block.count; ++j) {
    for (int64_t d = 0; d < state.padded_dim; d += 16) {
      S::Store(values + j * state.padded_dim + d,
               LoadToken<S>(state, block.value[j], block.in_pages >> j & 1, d));
    }
  }
}

template <class S, int kRows>
void ScoreRows(const AttendState& state, int64_t row) {
  const float* keys = reinterpret_cast<const float*>(state.keys);
  const float* q = state.q + row * state.padded_dim;
  typename S::V acc[kRows][4];
  for (int r = 0; r < kRows; ++r) {
    for (int c = 0; c < 4; ++c) acc[r][c] = S::Zero();
  }
  for (int64_t d = 0; d < state.head_dim; ++d) {
    typename S::V k[4];
    for (int c = 0; c < 4; ++c) k[c] = S::Load(keys + d * kBlockKeys + c * 16);
    for (int r = 0; r < kRows; ++r) {
      const typename S::V x = S::Set1(q[r * state.padded_dim + d]);
      for (int c = 0; c < 4; ++c) acc[r][c] = S::Fma(x, k[c], acc[r][c]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int c = 0; c < 4; ++c) S::Store(state.scores + (row + r) * 64 + c * 16, acc[r][c]);
  }
}

// Scores of one row become exp(score - top), 0 where invisible; top, weight and sum follow.
// Returns the factor by which `sum` must shrink.
template <class S>
float WeighRow(AttendState& state, int64_t row, uint64_t visible) {
  float* scores = state.scores + row * 64;
  typename S::V s[4];
  for (int c = 0; c < 4; ++c) {
    s[c] = S::Select(static_cast<uint32_t>(visible >> (16 * c)) & 0xFFFF, S::Load(scores + 16 * c),
                     S::Set1(kNoScore));
  }
  const float best = S::ReduceMax(S::Max(S::Max(s[0], s[1]), S::Max(s[2], s[3])));
  const float old = state.top[row];
  const float top = old > best ? old : best;
  typename S::V p[4];
  for (int c = 0; c < 4; ++c) {
    p[c] = S::Select(static_cast<uint32_t>(visible >> (16 * c)) & 0xFFFF,
                     Exp<S>(S::Sub(s[c], S::Set1(top))), S::Zero());
    S::Store(scores + 16 * c, p[c]);
  }
  float factor = 1.0f;  // exp(0); most blocks do not raise the maximum
  if (!(old == top)) {
    float shrunk[16];
    S::Store(shrunk, Exp<S>(S::Set1(old - top)));
    factor = old == kNoScore ? 0.0f : shrunk[0];
  }
  float* weight = state.weight + row * 16;
  const typename S::V added = S::Add(S::Add(p[0], p[1]), S::Add(p[2], p[3]));
  S::Store(weight, S::Fma(S::Load(weight), S::Set1(factor), added));
  state.top[row] = top;
  return factor;
}

template <class S, int kRows, int kColumns>
void AddValues(AttendState& state, int64_t row, int64_t d, const float* factor, int count) {
  const float* values = reinterpret_cast<const float*>(state.values) + d;
  const float* p = state.scores + row * 64;
  float* sum = state.sum + row * state.padded_dim + d;
  typename S::V acc[kRows][kColumns];
  for (int r = 0; r < kRows; ++r) {
    for (int c = 0; c < kColumns; ++c) {
      acc[r][c] = S::Mul(S::Load(sum + r * state.padded_dim + c * 16), S::Set1(factor[r]));
    }
  }
  for (int j = 0; j < count; ++j) {
    typename S::V v[kColumns];
    for (int c = 0; c < kColumns; ++c) v[c] = S::Load(values + j * state.padded_dim + c * 16);
    for (int r = 0; r < kRows; ++r) {
      const typename S::V x = S::Set1(p[r * 64 + j]);
      for (int c = 0; c < kColumns; ++c) acc[r][c] = S::Fma(x, v[c], acc[r][c]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int c = 0; c < kColumns; ++c) {
      S::Store(sum + r * state.padded_dim + c * 16, acc[r][c]);
    }
  }
}

template <class S, int kRows>
void AddValueColumns(AttendState& state, int64_t row, const float* factor, int count) {
  int64_t d = 0;
  for (; d + 64 <= state.padded_dim; d += 64) {
    AddValues<S, kRows, 4>(state, row, d, factor, count);
  }
  for (; d < state.padded_dim; d += 32) AddValues<S, kRows, 2>(state, row, d, factor, count);
}

// Calls f<kRows>(row) for tiles of kRows rows, then for the rest with fewer.
template <int kRows, typename F>
void ForRows(int64_t row, int64_t end, F f) {
  for (; row + kRows <= end; row += kRows) f.template operator()<kRows>(row);
  if constexpr (kRows > 1) {
    if (row < end) ForRows<kRows - 1>(row, end, f);
  }
}

// Rows that see nothing of the block keep their state: probabilities 0, factor 1.
template <class S>
void AttendBlock(AttendState& state, const uint64_t* visible, int count) {
  ForRows<S::kAttendRows>(0, state.rows, [&]<int kRows>(int64_t row) {
    ScoreRows<S, kRows>(state, row);
    float factor[kRows];
    for (int r = 0; r < kRows; ++r) {
      factor[r] = 1.0f;
      if (visible[row + r] != 0) {
        factor[r] = WeighRow<S>(state, row + r, visible[row + r]);
        continue;
      }
      for (int c = 0; c < 64; c += 16) S::Store(state.scores + (row + r) * 64 + c, S::Zero());
    }
    AddValueColumns<S, kRows>(state, row, factor, count);
  });
}

template <class S>
void EndRow(const AttendState& state, int64_t row, float* out) {
  const typename S::V weight = S::Set1(S::ReduceAdd(S::Load(state.weight + row * 16)));
  const float* sum = state.sum + row * state.padded_dim;
  ForColumns(
      state.head_dim, [=](int64_t i, int n) __attribute__((always_inline)) {
        StoreColumns<S>(out + i, S::Div(S::Load(sum + i), weight), n);
      });
}

}  // namespace
}  // namespace headgate
