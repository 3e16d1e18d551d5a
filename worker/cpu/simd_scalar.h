// Sixteen floats at a time, in portable C++. This is the definition that simd_avx2.h and
// simd_avx512.h repeat with intrinsics: every operation gives the same bits at every level, so a
// kernel written over these names does too. Stateless.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "worker/cpu/float_formats.h"

namespace headgate {
namespace {

struct ScalarSimd {
  struct V {
    float v[16];
  };
  struct Words {
    uint32_t v[16];
  };
  // Tile sizes of the kernels; they do not change results.
  static constexpr int kTallRows = 4, kTallPanels = 1, kWidePanels = 1, kAttendRows = 2;

  template <typename F>
  static V Make(F f) {
    V r;
    for (int i = 0; i < 16; ++i) r.v[i] = f(i);
    return r;
  }
  static V Set1(float x) {
    return Make([x](int) { return x; });
  }
  static V Zero() { return Set1(0.0f); }
  static V Load(const float* p) {
    return Make([p](int i) { return p[i]; });
  }
  static void Store(float* p, V x) { std::memcpy(p, x.v, sizeof(x.v)); }
  // The first n lanes, 0 <= n <= 16; the others are 0, and their memory is not touched.
  static V LoadN(const float* p, int n) {
    return Make([p, n](int i) { return i < n ? p[i] : 0.0f; });
  }
  static void StoreN(float* p, V x, int n) {
    for (int i = 0; i < n; ++i) p[i] = x.v[i];
  }
  static V Add(V a, V b) {
    return Make([&](int i) { return a.v[i] + b.v[i]; });
  }
  static V Sub(V a, V b) {
    return Make([&](int i) { return a.v[i] - b.v[i]; });
  }
  static V Mul(V a, V b) {
    return Make([&](int i) { return a.v[i] * b.v[i]; });
  }
  static V Div(V a, V b) {
    return Make([&](int i) { return a.v[i] / b.v[i]; });
  }
  // a * b + c, rounded once.
  static V Fma(V a, V b, V c) {
    return Make([&](int i) { return std::fma(a.v[i], b.v[i], c.v[i]); });
  }
  // c - a * b, rounded once.
  static V Nfma(V a, V b, V c) {
    return Make([&](int i) { return std::fma(-a.v[i], b.v[i], c.v[i]); });
  }
  // b when either is NaN.
  static V Max(V a, V b) {
    return Make([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
  }
  static V Min(V a, V b) {
    return Make([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
  }
  // a where the bit is set, else b.
  static V Select(uint32_t bits, V a, V b) {
    return Make([&](int i) { return (bits >> i & 1) != 0 ? a.v[i] : b.v[i]; });
  }
  static V Round(V x) {  // to nearest, ties to even
    return Make([&](int i) { return std::nearbyint(x.v[i]); });
  }
  // 2^n for whole n in [-126, 127].
  static V Pow2(V n) {
    return Make([&](int i) {
      if (!(n.v[i] >= -126.0f && n.v[i] <= 127.0f)) return 0.0f;  // NaN: the factor decides
      return BitsToFloat(static_cast<uint32_t>(static_cast<int32_t>(n.v[i]) + 127) << 23);
    });
  }
  // Halves, then quarters, and so on: lane i + lane i + 8, ...
  static float ReduceAdd(V x) {
    for (int n = 8; n > 0; n /= 2) {
      for (int i = 0; i < n; ++i) x.v[i] += x.v[i + n];
    }
    return x.v[0];
  }
  static float ReduceMax(V x) {
    for (int n = 8; n > 0; n /= 2) {
      for (int i = 0; i < n; ++i) x.v[i] = x.v[i] > x.v[i + n] ? x.v[i] : x.v[i + n];
    }
    return x.v[0];
  }
  static V LoadBf16(const uint16_t* p) {
    return Make([p](int i) { return Bf16ToFloat(p[i]); });
  }
  static void StoreBf16(uint16_t* p, V x) {
    for (int i = 0; i < 16; ++i) p[i] = FloatToBf16(x.v[i]);
  }
  static V RoundBf16(V x) {
    return Make([&](int i) { return Bf16ToFloat(FloatToBf16(x.v[i])); });
  }
  static V LoadF16(const uint16_t* p) {
    return Make([p](int i) { return F16ToFloat(p[i]); });
  }
  static V LoadInt8(const int8_t* p) {
    return Make([p](int i) { return static_cast<float>(p[i]); });
  }
  static Words LoadWords(const uint32_t* p) {
    Words r;
    std::memcpy(r.v, p, sizeof(r.v));
    return r;
  }
  // Four bits of every word, from bit kShift on, as 0..15.
  template <int kShift>
  static V Nibble(Words w) {
    return Make([&](int i) { return static_cast<float>(w.v[i] >> kShift & 15); });
  }
  // The low and high bf16 of every word.
  static V LowBf16(Words w) {
    return Make([&](int i) { return BitsToFloat(w.v[i] << 16); });
  }
  static V HighBf16(Words w) {
    return Make([&](int i) { return BitsToFloat(w.v[i] & 0xFFFF0000u); });
  }
  // Transposes 16 rows of 16.
  static void Transpose(V rows[16]) {
    for (int i = 0; i < 16; ++i) {
      for (int j = 0; j < i; ++j) {
        const float t = rows[i].v[j];
        rows[i].v[j] = rows[j].v[i];
        rows[j].v[i] = t;
      }
    }
  }
};

}  // namespace
}  // namespace headgate
