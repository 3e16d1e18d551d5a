// simd_scalar.h with AVX2, FMA and F16C: sixteen floats in two registers. Only included by files
// with those flags; everything is inlined, so that no other file links to code with them.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace headgate {
namespace {

#define HEADGATE_INLINE [[gnu::always_inline]] static inline

struct Avx2Simd {
  struct V {
    __m256 a, b;
  };
  struct Words {
    __m256i a, b;
  };
  static constexpr int kTallRows = 5, kTallPanels = 1, kWidePanels = 4, kAttendRows = 1;

  HEADGATE_INLINE V Set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  HEADGATE_INLINE V Zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  HEADGATE_INLINE V Load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  HEADGATE_INLINE void Store(float* p, V x) {
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
  }
  HEADGATE_INLINE __m256i Below(int n, int first) {  // lanes with first + lane < n
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n - first), lane);
  }
  HEADGATE_INLINE V LoadN(const float* p, int n) {
    return {_mm256_maskload_ps(p, Below(n, 0)), _mm256_maskload_ps(p + 8, Below(n, 8))};
  }
  HEADGATE_INLINE void StoreN(float* p, V x, int n) {
    _mm256_maskstore_ps(p, Below(n, 0), x.a);
    _mm256_maskstore_ps(p + 8, Below(n, 8), x.b);
  }
  HEADGATE_INLINE V Add(V x, V y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
  HEADGATE_INLINE V Sub(V x, V y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
  HEADGATE_INLINE V Mul(V x, V y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
  HEADGATE_INLINE V Div(V x, V y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
  HEADGATE_INLINE V Fma(V x, V y, V z) {
    return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
  }
  HEADGATE_INLINE V Nfma(V x, V y, V z) {
    return {_mm256_fnmadd_ps(x.a, y.a, z.a), _mm256_fnmadd_ps(x.b, y.b, z.b)};
  }
  HEADGATE_INLINE V Max(V x, V y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
  HEADGATE_INLINE V Min(V x, V y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
  HEADGATE_INLINE __m256 LaneMask(uint32_t bits) {
    const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i set = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits)), bit);
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(set, bit));
  }
  HEADGATE_INLINE V Select(uint32_t bits, V x, V y) {
    return {_mm256_blendv_ps(y.a, x.a, LaneMask(bits)),
            _mm256_blendv_ps(y.b, x.b, LaneMask(bits >> 8))};
  }
  HEADGATE_INLINE V Round(V x) {
    constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    return {_mm256_round_ps(x.a, kNearest), _mm256_round_ps(x.b, kNearest)};
  }
  HEADGATE_INLINE __m256 Pow2Half(__m256 n) {
    const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
  }
  HEADGATE_INLINE V Pow2(V n) { return {Pow2Half(n.a), Pow2Half(n.b)}; }
  HEADGATE_INLINE float ReduceAdd(V x) {
    const __m256 half = _mm256_add_ps(x.a, x.b);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  HEADGATE_INLINE float ReduceMax(V x) {
    const __m256 half = _mm256_max_ps(x.a, x.b);
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }
  HEADGATE_INLINE __m256 Widen(__m128i h) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
  }
  HEADGATE_INLINE V LoadBf16(const uint16_t* p) {
    return {Widen(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
            Widen(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
  }
  // The rounded value in the high half of every lane, low half 0.
  HEADGATE_INLINE __m256i RoundedHigh(__m256 x) {
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF)));
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const __m256 nan = _mm256_cmp_ps(x, x, _CMP_UNORD_Q);
    const __m256i pick = _mm256_blendv_epi8(up, quiet, _mm256_castps_si256(nan));
    return _mm256_and_si256(pick, _mm256_set1_epi32(static_cast<int>(0xFFFF0000u)));
  }
  HEADGATE_INLINE void StoreBf16(uint16_t* p, V x) {
    const __m256i lo = _mm256_srli_epi32(RoundedHigh(x.a), 16);
    const __m256i hi = _mm256_srli_epi32(RoundedHigh(x.b), 16);
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(lo, hi), 0xD8);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), packed);
  }
  HEADGATE_INLINE V RoundBf16(V x) {
    return {_mm256_castsi256_ps(RoundedHigh(x.a)), _mm256_castsi256_ps(RoundedHigh(x.b))};
  }
  HEADGATE_INLINE V LoadF16(const uint16_t* p) {
    return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
            _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
  }
  HEADGATE_INLINE V LoadInt8(const int8_t* p) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)),
            _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8)))};
  }
  HEADGATE_INLINE Words LoadWords(const uint32_t* p) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 8))};
  }
  template <int kShift>
  HEADGATE_INLINE V Nibble(Words w) {
    const __m256i low = _mm256_set1_epi32(15);
    return {_mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srli_epi32(w.a, kShift), low)),
            _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srli_epi32(w.b, kShift), low))};
  }
  HEADGATE_INLINE V LowBf16(Words w) {
    return {_mm256_castsi256_ps(_mm256_slli_epi32(w.a, 16)),
            _mm256_castsi256_ps(_mm256_slli_epi32(w.b, 16))};
  }
  HEADGATE_INLINE V HighBf16(Words w) {
    const __m256i high = _mm256_set1_epi32(static_cast<int>(0xFFFF0000u));
    return {_mm256_castsi256_ps(_mm256_and_si256(w.a, high)),
            _mm256_castsi256_ps(_mm256_and_si256(w.b, high))};
  }
  HEADGATE_INLINE void Transpose8(__m256 r[8]) {
    __m256 t[8], u[8];
    for (int i = 0; i < 4; ++i) {
      t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
      t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    for (int i = 0; i < 2; ++i) {
      u[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
      u[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xEE);
      u[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
      u[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xEE);
    }
    for (int i = 0; i < 4; ++i) {
      r[i] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
      r[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
    }
  }
  HEADGATE_INLINE void Transpose(V rows[16]) {
    __m256 q[4][8];  // quarters: [rows below 8][columns below 8], ...
    for (int i = 0; i < 8; ++i) {
      q[0][i] = rows[i].a;
      q[1][i] = rows[i].b;
      q[2][i] = rows[i + 8].a;
      q[3][i] = rows[i + 8].b;
    }
    for (int i = 0; i < 4; ++i) Transpose8(q[i]);
    for (int i = 0; i < 8; ++i) {
      rows[i] = {q[0][i], q[2][i]};
      rows[i + 8] = {q[1][i], q[3][i]};
    }
  }
};

#undef HEADGATE_INLINE

}  // namespace
}  // namespace headgate
