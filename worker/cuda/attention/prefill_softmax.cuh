// Visibility and softmax of the prefill kernel's scores. A warpgroup has 64 rows of a tile; a
// thread holds columns 8 j + 2 (lane % 4) + {0, 1} of rows lane / 4 and lane / 4 + 8 of its warp's
// 16, as wgmma leaves them. Device code.
#pragma once

#include "worker/cuda/attention/prefill_tile.cuh"

namespace headgate {

// Scores outside Vis become -inf. `row`: the tile's row that the thread's first one is.
__device__ inline void Mask(const Tile& tile, int32_t page_tokens, int32_t step, int row, int lane,
                            float (&scores)[64]) {
  int32_t t[2], window[2];
  for (int r = 0; r < 2; ++r) {
    t[r] = tile.position(min((row + 8 * r) / tile.group, tile.tokens - 1));
    window[r] = static_cast<int32_t>(WindowStart(tile.spec, t[r], page_tokens));
  }
  const auto sinks = static_cast<int32_t>(tile.spec.sinks);
#pragma unroll
  for (int b = 0; b < kStepBoxes; ++b) {
    const int32_t box = step * kStepBoxes + b;
    const bool exists = box < tile.boxes.count();
    const int run = exists ? tile.boxes.RunOf(box) : 0;
    const int32_t base = exists ? tile.boxes.Position(box, run) : 0;
    const int32_t end = exists ? tile.boxes.end[run] : 0;
#pragma unroll
    for (int i = 0; i < 8; ++i) {  // two blocks of 8 columns: 4 values each
      const int32_t key = base + i / 4 * 8 + lane % 4 * 2 + i % 2;
      const int r = i / 2 % 2;
      const bool seen = key < end && key <= t[r] && (key < sinks || key >= window[r]);
      if (!seen) scores[b * 8 + i] = -INFINITY;
    }
  }
}

__device__ inline float Exp2(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

// Online softmax of a thread's two rows. Weights are 2^(scale * score - base), where base is a
// score of the row that was the largest when Raise last looked. Later scores may be larger: weights
// are floating point, so nothing is lost while their sum stays below kSumMax, whenever the base
// rises and in the end.
struct Softmax {
  float base[2] = {-INFINITY, -INFINITY};
  float sum[2] = {0.0f, 0.0f};
  float keep[2];  // factor of what was summed before the last Raise, if that says true

  // Makes the base the largest score if that is more than 2^kSlack above it. Whether `keep` is to
  // be applied to what was summed; the same in all threads of a warp.
  __device__ __forceinline__ bool Raise(float scale, const float (&scores)[64]) {
    constexpr float kSlack = 8.0f;
    float top[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float part[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) part[i] = scores[i / 2 * 4 + r * 2 + i % 2];
#pragma unroll
      for (int i = 4; i < 32; ++i) {
        part[i % 4] = fmaxf(part[i % 4], scores[i / 2 * 4 + r * 2 + i % 2]);
      }
      top[r] = fmaxf(fmaxf(part[0], part[1]), fmaxf(part[2], part[3]));
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) top[r] = fmaxf(top[r], __shfl_xor_sync(~0u, top[r], 1));
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      top[r] = scale * fmaxf(top[r], __shfl_xor_sync(~0u, top[r], 2));
    }
    const bool rises = top[0] > base[0] + kSlack || top[1] > base[1] + kSlack;
    if (!__any_sync(~0u, rises)) return false;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float higher = fmaxf(base[r], top[r]);
      keep[r] = Exp2(base[r] - (higher == -INFINITY ? 0.0f : higher));
      // Weighted values may have overflowed though their weights' sum did not, and `keep` may be 0.
      sum[r] = sum[r] <= kSumMax ? sum[r] * keep[r] : NAN;
      base[r] = higher;
    }
    return true;
  }

  // scores := weights.
  __device__ __forceinline__ void Weigh(float scale, float (&scores)[64]) {
    const float minus[2] = {base[0] == -INFINITY ? 0.0f : -base[0],
                            base[1] == -INFINITY ? 0.0f : -base[1]};
    float added[4] = {};
#pragma unroll
    for (int i = 0; i < 64; ++i) {
      scores[i] = Exp2(fmaf(scores[i], scale, minus[i / 2 % 2]));
      added[i % 4] += scores[i];
    }
    sum[0] += added[0] + added[1];
    sum[1] += added[2] + added[3];
  }

  __device__ float Total(int r) const {
    const float total = sum[r] + __shfl_xor_sync(~0u, sum[r], 1);
    return total + __shfl_xor_sync(~0u, total, 2);
  }
  // Else weights left the range of floats, or would with large values: Raise at every step.
  __device__ static bool SumFits(float total) { return 0x1p-30f <= total && total <= kSumMax; }

  static constexpr float kSumMax = 0x1p60f;
};

__device__ inline uint32_t PackBf16(float low, float high) {
  uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

__device__ inline void ToWeights(const float (&scores)[64], uint32_t (&weights)[kKeys / 16][4]) {
#pragma unroll
  for (int k = 0; k < kKeys / 16; ++k) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      weights[k][i] = PackBf16(scores[k * 8 + 2 * i], scores[k * 8 + 2 * i + 1]);
    }
  }
}

}  // namespace headgate
