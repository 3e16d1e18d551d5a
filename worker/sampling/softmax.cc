#include "worker/sampling/softmax.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>

namespace headgate {
namespace {

constexpr float kExpMin = -85.0f;  // e^-85 is the last power far from denormals

// e^x for x in [kExpMin, 0], without a branch so that the loop becomes vector code: 2^n * e^r with
// |r| <= ln(2) / 2, and e^r by its Taylor polynomial.
inline float ExpNonPositive(float x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const float shifted = x * 1.44269504f + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;  // ln 2 in two parts
  float p = 1.0f / 5040.0f;
  p = p * r + 1.0f / 720.0f;
  p = p * r + 1.0f / 120.0f;
  p = p * r + 1.0f / 24.0f;
  p = p * r + 1.0f / 6.0f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const uint32_t exponent = (std::bit_cast<uint32_t>(shifted) << 23) + (127u << 23);
  return p * std::bit_cast<float>(exponent);
}

}  // namespace

Peak FindPeak(std::span<const float> logits) {
  Peak peak;
  if (logits.empty()) return peak;
  // Lanes, because the compiler may not reorder a sum or a maximum of floats by itself.
  constexpr size_t kLanes = 16;
  float bests[kLanes];
  float nonfinite[kLanes] = {};  // x - x is 0 for finite x and NaN otherwise
  std::fill(std::begin(bests), std::end(bests), logits[0]);
  size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const float logit = logits[i + lane];
      nonfinite[lane] += logit - logit;
      bests[lane] = logit > bests[lane] ? logit : bests[lane];
    }
  }
  for (; i < logits.size(); ++i) {
    nonfinite[0] += logits[i] - logits[i];
    bests[0] = std::max(bests[0], logits[i]);
  }
  for (const float lane : nonfinite) {
    if (!(lane == 0.0f)) return peak;
  }
  const float best = *std::max_element(std::begin(bests), std::end(bests));
  const auto first = std::find(logits.begin(), logits.end(), best);
  return {static_cast<TokenId>(first - logits.begin()), best, true};
}

double ExpAndSum(std::span<const float> logits, float peak, double scale, std::vector<float>& out) {
  out.resize(logits.size());
  // A tiny temperature makes the scale overflow: everything below the peak then is 0.
  const float factor = static_cast<float>(std::min(scale, 1e30));
  for (size_t i = 0; i < logits.size(); ++i) {
    const float x = (logits[i] - peak) * factor;
    const float e = ExpNonPositive(x > kExpMin ? x : kExpMin);
    out[i] = x > kExpMin ? e : 0.0f;
  }
  constexpr size_t kLanes = 8;
  double lanes[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= out.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) lanes[lane] += out[i + lane];
  }
  double sum = 0.0;
  for (; i < out.size(); ++i) sum += out[i];
  for (const double lane : lanes) sum += lane;
  return sum;
}

double LogSumExp(std::span<const float> logits, float peak, std::vector<float>& scratch) {
  return peak + std::log(ExpAndSum(logits, peak, 1.0, scratch));
}

}  // namespace headgate
