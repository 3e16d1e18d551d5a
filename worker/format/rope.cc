#include "worker/format/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.h"

namespace headgate {
namespace {

// Frequencies that turn at least high_freq_factor times within the original context stay, those
// that turn at most low_freq_factor times slow down by `factor`, and between the two the share of
// the original frequency grows linearly with the number of turns.
double ScaleLlama3(const RopeParams& rope, double frequency) {
  const double turns =
      static_cast<double>(rope.original_max_positions) * frequency / (2.0 * std::numbers::pi);
  const double share = std::clamp(
      (turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor), 0.0, 1.0);
  return share * frequency + (1.0 - share) * frequency / rope.factor;
}

}  // namespace

std::vector<float> RopeFrequencies(const RopeParams& rope, int64_t head_dim) {
  CHECK(head_dim > 0 && head_dim % 2 == 0) << "head_dim is " << head_dim;
  std::vector<float> frequencies;
  for (int64_t i = 0; i < head_dim; i += 2) {
    double frequency =
        std::pow(rope.theta, -static_cast<double>(i) / static_cast<double>(head_dim));
    if (rope.kind == RopeKind::kLinear) frequency /= rope.factor;
    if (rope.kind == RopeKind::kLlama3) frequency = ScaleLlama3(rope, frequency);
    frequencies.push_back(static_cast<float>(frequency));
  }
  return frequencies;
}

}  // namespace headgate
