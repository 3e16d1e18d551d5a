// Kernels over one row of activations, over the names of simd_scalar.h (S). Only included by the
// kernels_*.cc files.
#pragma once

#include <cmath>
#include <cstdint>

namespace headgate {
namespace {

// e^x; x is clamped to [-87.3, 88.3]. Relative error below 2e-7. NaN stays NaN.
template <class S>
[[gnu::always_inline]] inline typename S::V Exp(typename S::V x) {
  x = S::Min(S::Set1(88.3f), S::Max(S::Set1(-87.3f), x));
  const typename S::V n = S::Round(S::Mul(x, S::Set1(0x1.715476p+0f)));  // log2(e)
  typename S::V r = S::Nfma(n, S::Set1(0x1.62e400p-1f), x);              // ln(2), 12 high bits
  r = S::Nfma(n, S::Set1(0x1.7f7d1cp-20f), r);                           // the rest of ln(2)
  typename S::V p = S::Set1(1.0f / 5040);  // Taylor series: |r| <= ln(2) / 2
  p = S::Fma(p, r, S::Set1(1.0f / 720));
  p = S::Fma(p, r, S::Set1(1.0f / 120));
  p = S::Fma(p, r, S::Set1(1.0f / 24));
  p = S::Fma(p, r, S::Set1(1.0f / 6));
  p = S::Fma(p, r, S::Set1(0.5f));
  p = S::Fma(p, r, S::Set1(1.0f));
  p = S::Fma(p, r, S::Set1(1.0f));
  return S::Mul(p, S::Pow2(n));
}

// Calls body(i, lanes) for every 16 columns; lanes < 16 at the end only.
template <typename Body>
[[gnu::always_inline]] inline void ForColumns(int64_t cols, Body body) {
  int64_t i = 0;
  for (; i + 16 <= cols; i += 16) body(i, 16);
  if (i < cols) body(i, static_cast<int>(cols - i));
}

template <class S>
[[gnu::always_inline]] inline typename S::V LoadColumns(const float* p, int lanes) {
  return lanes == 16 ? S::Load(p) : S::LoadN(p, lanes);
}

template <class S>
[[gnu::always_inline]] inline void StoreColumns(float* p, typename S::V v, int lanes) {
  if (lanes == 16) {
    S::Store(p, v);
  } else {
    S::StoreN(p, v, lanes);
  }
}

template <class S>
void AddRow(float* x, const float* delta, int64_t cols) {
  ForColumns(
      cols, [=](int64_t i, int n) __attribute__((always_inline)) {
        StoreColumns<S>(x + i, S::Add(LoadColumns<S>(x + i, n), LoadColumns<S>(delta + i, n)), n);
      });
}

template <class S>
void RmsNormRow(float* x, const float* delta, const float* weight, float eps, float* out,
                int64_t cols) {
  if (delta != nullptr) AddRow<S>(x, delta, cols);
  typename S::V squares = S::Zero();
  ForColumns(
      cols, [&](int64_t i, int n) __attribute__((always_inline)) {
        const typename S::V v = LoadColumns<S>(x + i, n);
        squares = S::Fma(v, v, squares);
      });
  const float mean = S::ReduceAdd(squares) / static_cast<float>(cols);
  const typename S::V factor = S::Set1(1.0f / __builtin_sqrtf(mean + eps));
  ForColumns(
      cols, [=](int64_t i, int n) __attribute__((always_inline)) {
        const typename S::V v = S::Mul(LoadColumns<S>(x + i, n), factor);
        StoreColumns<S>(out + i, S::Mul(v, LoadColumns<S>(weight + i, n)), n);
      });
}

// (a, b) of the two halves becomes (a cos - b sin, b cos + a sin).
template <class S>
void RopeHead(float* head, const float* cosine, const float* sine, int64_t half) {
  ForColumns(
      half, [=](int64_t i, int n) __attribute__((always_inline)) {
        const typename S::V c = LoadColumns<S>(cosine + i, n), s = LoadColumns<S>(sine + i, n);
        const typename S::V a = LoadColumns<S>(head + i, n), b = LoadColumns<S>(head + half + i, n);
        StoreColumns<S>(head + i, S::Nfma(b, s, S::Mul(a, c)), n);
        StoreColumns<S>(head + half + i, S::Fma(a, s, S::Mul(b, c)), n);
      });
}

template <class S>
void SiluMulRow(const float* gate, const float* up, float* out, int64_t cols) {
  ForColumns(
      cols, [=](int64_t i, int n) __attribute__((always_inline)) {
        const typename S::V g = LoadColumns<S>(gate + i, n);
        const typename S::V one = S::Set1(1.0f);
        const typename S::V silu = S::Div(g, S::Add(one, Exp<S>(S::Sub(S::Zero(), g))));
        StoreColumns<S>(out + i, S::Mul(silu, LoadColumns<S>(up + i, n)), n);
      });
}

template <class S>
void RowToBf16(const float* x, uint16_t* out, int64_t cols) {
  ForColumns(
      cols, [=](int64_t i, int n) __attribute__((always_inline)) {
        if (n == 16) {
          S::StoreBf16(out + i, S::Load(x + i));
          return;
        }
        uint16_t part[16];
        S::StoreBf16(part, S::LoadN(x + i, n));
        for (int j = 0; j < n; ++j) out[i + j] = part[j];
      });
}

}  // namespace
}  // namespace headgate
