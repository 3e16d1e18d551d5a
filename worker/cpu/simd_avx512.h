// simd_scalar.h with AVX-512 (F, BW, DQ, VL): sixteen floats in one register. Only included by
// files with those flags; everything is inlined, so that no other file links to code with them.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace headgate {
namespace {

#define HEADGATE_INLINE [[gnu::always_inline]] static inline

struct Avx512Simd {
  using V = __m512;
  using Words = __m512i;
  static constexpr int kTallRows = 8, kTallPanels = 2, kWidePanels = 8, kAttendRows = 6;

  HEADGATE_INLINE V Set1(float x) { return _mm512_set1_ps(x); }
  HEADGATE_INLINE V Zero() { return _mm512_setzero_ps(); }
  HEADGATE_INLINE V Load(const float* p) { return _mm512_loadu_ps(p); }
  HEADGATE_INLINE void Store(float* p, V x) { _mm512_storeu_ps(p, x); }
  HEADGATE_INLINE __mmask16 Below(int n) { return static_cast<__mmask16>((1u << n) - 1); }
  HEADGATE_INLINE V LoadN(const float* p, int n) { return _mm512_maskz_loadu_ps(Below(n), p); }
  HEADGATE_INLINE void StoreN(float* p, V x, int n) { _mm512_mask_storeu_ps(p, Below(n), x); }
  HEADGATE_INLINE V Add(V a, V b) { return _mm512_add_ps(a, b); }
  HEADGATE_INLINE V Sub(V a, V b) { return _mm512_sub_ps(a, b); }
  HEADGATE_INLINE V Mul(V a, V b) { return _mm512_mul_ps(a, b); }
  HEADGATE_INLINE V Div(V a, V b) { return _mm512_div_ps(a, b); }
  HEADGATE_INLINE V Fma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
  HEADGATE_INLINE V Nfma(V a, V b, V c) { return _mm512_fnmadd_ps(a, b, c); }
  HEADGATE_INLINE V Max(V a, V b) { return _mm512_max_ps(a, b); }
  HEADGATE_INLINE V Min(V a, V b) { return _mm512_min_ps(a, b); }
  HEADGATE_INLINE V Select(uint32_t bits, V a, V b) {
    return _mm512_mask_blend_ps(static_cast<__mmask16>(bits), b, a);
  }
  HEADGATE_INLINE V Round(V x) {
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  HEADGATE_INLINE V Pow2(V n) {
    const __m512i biased = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(biased, 23));
  }
  HEADGATE_INLINE float ReduceAdd(V x) {
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  HEADGATE_INLINE float ReduceMax(V x) {
    const __m256 half = _mm256_max_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }
  HEADGATE_INLINE V LoadBf16(const uint16_t* p) {
    const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
  }
  HEADGATE_INLINE __m512i RoundedHigh(V x) {
    const __m512i bits = _mm512_castps_si512(x);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    return _mm512_mask_or_epi32(up, nan, bits, _mm512_set1_epi32(0x400000));
  }
  HEADGATE_INLINE void StoreBf16(uint16_t* p, V x) {
    const __m256i half = _mm512_cvtepi32_epi16(_mm512_srli_epi32(RoundedHigh(x), 16));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), half);
  }
  HEADGATE_INLINE V RoundBf16(V x) {
    const __m512i high = _mm512_set1_epi32(static_cast<int>(0xFFFF0000u));
    return _mm512_castsi512_ps(_mm512_and_si512(RoundedHigh(x), high));
  }
  HEADGATE_INLINE V LoadF16(const uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  HEADGATE_INLINE V LoadInt8(const int8_t* p) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
  }
  HEADGATE_INLINE Words LoadWords(const uint32_t* p) { return _mm512_loadu_si512(p); }
  template <int kShift>
  HEADGATE_INLINE V Nibble(Words w) {
    const __m512 table = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return _mm512_permutexvar_ps(_mm512_srli_epi32(w, kShift), table);  // reads 4 bits a lane
  }
  HEADGATE_INLINE V LowBf16(Words w) { return _mm512_castsi512_ps(_mm512_slli_epi32(w, 16)); }
  HEADGATE_INLINE V HighBf16(Words w) {
    const __m512i high = _mm512_set1_epi32(static_cast<int>(0xFFFF0000u));
    return _mm512_castsi512_ps(_mm512_and_si512(w, high));
  }
  HEADGATE_INLINE void Transpose(V r[16]) {
    V t[16];
    for (int i = 0; i < 16; i += 2) {
      t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
      t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
      r[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
      r[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xEE);
      r[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
      r[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
    }
    // r[4 b + c]: 128-bit lane q holds column 4 q + c of rows 4 b .. 4 b + 3.
    for (int c = 0; c < 4; ++c) {
      t[c] = _mm512_shuffle_f32x4(r[c], r[4 + c], 0x88);           // columns c, 8 + c; rows 0-7
      t[4 + c] = _mm512_shuffle_f32x4(r[c], r[4 + c], 0xDD);       // columns 4 + c, 12 + c
      t[8 + c] = _mm512_shuffle_f32x4(r[8 + c], r[12 + c], 0x88);  // the same of rows 8-15
      t[12 + c] = _mm512_shuffle_f32x4(r[8 + c], r[12 + c], 0xDD);
    }
    for (int c = 0; c < 4; ++c) {
      r[c] = _mm512_shuffle_f32x4(t[c], t[8 + c], 0x88);
      r[8 + c] = _mm512_shuffle_f32x4(t[c], t[8 + c], 0xDD);
      r[4 + c] = _mm512_shuffle_f32x4(t[4 + c], t[12 + c], 0x88);
      r[12 + c] = _mm512_shuffle_f32x4(t[4 + c], t[12 + c], 0xDD);
    }
  }
};

#undef HEADGATE_INLINE

}  // namespace
}  // namespace headgate
