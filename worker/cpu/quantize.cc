// Rounding of weight groups.
#include "worker/cpu/quantize.h"

#include <algorithm>
#include <cmath>

#include "worker/cpu/float_formats.h"

namespace headgate {
namespace {

bool FitsF16(float value) { return std::isfinite(F16ToFloat(FloatToF16(value))); }

// q nearest to (w - minimum) / scale, in 0..15.
void Round(std::span<const float, 32> w, float scale, float minimum, Int4Group& group) {
  const float inverse = scale != 0.0f ? 1.0f / scale : 0.0f;
  for (size_t i = 0; i < 32; ++i) {
    const float q = std::nearbyint((w[i] - minimum) * inverse);
    group.q[i] = static_cast<uint8_t>(std::clamp(q, 0.0f, 15.0f));
  }
}

bool Reproduces(std::span<const float, 32> w, float scale, float minimum, const Int4Group& group) {
  for (size_t i = 0; i < 32; ++i) {
    // The product of fp16 and 4 bits is exact: one rounding, fused or not.
    if (scale * static_cast<float>(group.q[i]) + minimum != w[i]) return false;
  }
  return true;
}

// Are all weights near lo + whole numbers * scale? Cheap refusal of scales that cannot fit.
bool NearGrid(std::span<const float, 32> w, float lo, float scale) {
  const float inverse = 1.0f / scale;
  return std::all_of(w.begin(), w.end(), [=](float value) {
    const float steps = (value - lo) * inverse;
    return std::abs(steps - std::nearbyint(steps)) < 0.02f;
  });
}

// The grid that the weights lie on exactly, when they use only a part of it: `steps` of its 15
// steps, from step `below` on.
bool FindGrid(std::span<const float, 32> w, float lo, float hi, Int4Group& group) {
  for (int steps = 15; steps >= 1; --steps) {
    const uint16_t scale_bits = FloatToF16((hi - lo) / static_cast<float>(steps));
    const float scale = F16ToFloat(scale_bits);
    if (scale == 0.0f || !NearGrid(w, lo, scale)) continue;
    for (int below = 0; below <= 15 - steps; ++below) {
      const uint16_t minimum_bits = FloatToF16(lo - scale * static_cast<float>(below));
      const float minimum = F16ToFloat(minimum_bits);
      Round(w, scale, minimum, group);
      if (!Reproduces(w, scale, minimum, group)) continue;
      group.scale = scale_bits;
      group.minimum = minimum_bits;
      return true;
    }
  }
  return false;
}

}  // namespace

bool QuantizeInt8(std::span<const float, 32> w, Int8Group& group) {
  float largest = 0.0f;
  for (float value : w) {
    if (!std::isfinite(value)) return false;
    largest = std::max(largest, std::abs(value));
  }
  group.scale = FloatToF16(largest / 127.0f);
  if (!FitsF16(largest / 127.0f)) return false;
  const float scale = F16ToFloat(group.scale);
  const float inverse = scale != 0.0f ? 1.0f / scale : 0.0f;
  for (size_t i = 0; i < 32; ++i) {
    const float q = std::nearbyint(w[i] * inverse);
    group.q[i] = static_cast<int8_t>(std::clamp(q, -127.0f, 127.0f));
  }
  return true;
}

bool QuantizeInt4(std::span<const float, 32> w, Int4Group& group) {
  float lo = w[0], hi = w[0];
  for (float value : w) {
    if (!std::isfinite(value)) return false;
    lo = std::min(lo, value);
    hi = std::max(hi, value);
  }
  const float step = (hi - lo) / 15.0f;
  if (!FitsF16(step) || !FitsF16(lo)) return false;
  if (FindGrid(w, lo, hi, group)) return true;
  group.scale = FloatToF16(step);
  group.minimum = FloatToF16(lo);
  Round(w, F16ToFloat(group.scale), F16ToFloat(group.minimum), group);
  return true;
}

}  // namespace headgate
