#include "tests/kernel/sampler_rig.h"

#include <algorithm>
#include <numeric>

namespace headgate {

void ExpectLogprob(float got, float want, const std::string& name) {
  EXPECT_NEAR(got, want, 1e-5 + 1e-6 * std::abs(want)) << name;
}

LogitUse Sampled(SequenceId sequence, int64_t token_index) {
  LogitUse use;
  use.sequence = sequence;
  use.sample = true;
  use.token_index = token_index;
  return use;
}

std::vector<float> MakeLogits(int64_t vocab, int kind, uint32_t seed) {
  const auto count = static_cast<size_t>(vocab);
  switch (kind) {
    case 0:  // equal
      return std::vector<float>(count, 1.5f);
    case 1:  // nearly equal
      return RandomFloats(count, seed, 0.01f);
    case 2:  // flat
      return RandomFloats(count, seed, 1.0f);
    case 3:
      return RandomFloats(count, seed, 3.0f);
    case 4: {  // few values, zeros of both signs among them
      std::vector<float> values = RandomFloats(count, seed, 2.0f);
      for (float& value : values) value = std::round(value);
      return values;
    }
    case 5: {  // one token far ahead, the rest further below than weights go
      std::vector<float> values = RandomFloats(count, seed, 1.0f);
      for (float& value : values) value -= 200.0f;
      values[seed % count] = 80.0f;
      return values;
    }
    default: {  // as a model's: few likely tokens
      std::vector<float> values = RandomFloats(count, seed, 2.0f);
      for (size_t i = 0; i < 30; ++i) {
        values[(seed * 31 + i * 4099) % count] = 20.0f - static_cast<float>(i) * 0.4f;
      }
      return values;
    }
  }
}
void ExpectDraw(std::span<const float> logits, const SamplingParams& params, double uniform,
                TokenId token, const std::string& name) {
  ASSERT_TRUE(0 <= token && static_cast<size_t>(token) < logits.size()) << name << " " << token;
  const double peak = *std::max_element(logits.begin(), logits.end());
  const double scale = std::min(1.0 / static_cast<double>(params.temperature), 1e30);
  std::vector<double> weights;
  for (const float logit : logits) weights.push_back(std::exp((logit - peak) * scale));
  std::vector<TokenId> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const bool limit_k = params.top_k > 0 && static_cast<size_t>(params.top_k) < logits.size();
  const bool limit_p = params.top_p < 1.0f;
  double tolerance = 3e-6;
  if (limit_k || limit_p || params.min_p > 0.0f) {
    const auto at = [&](TokenId id) { return logits[static_cast<size_t>(id)]; };
    std::stable_sort(order.begin(), order.end(),
                     [&](TokenId a, TokenId b) { return at(a) > at(b); });
    const auto likely = std::count_if(weights.begin(), weights.end(), [&](double one) {
      return one >= static_cast<double>(params.min_p);
    });
    if (limit_k) order.resize(static_cast<size_t>(params.top_k));
    const auto weight = [&](size_t i) { return weights[static_cast<size_t>(order[i])]; };
    double total = 0.0;
    for (size_t i = 0; i < order.size(); ++i) total += weight(i);
    if (limit_p) {
      const double wanted = static_cast<double>(params.top_p) * total;
      double mass = 0.0;
      size_t kept = 0;
      while (kept < order.size()) {
        const double before = mass;
        mass += weight(kept++);
        if (mass >= wanted) {
          // Rounding may move the cut by a token; that matters for light tokens alone.
          const double near = std::min(mass - wanted, wanted - before);
          if (near < 1e-6 * total) tolerance += 1.01 * weight(kept - 1) / wanted;
          break;
        }
      }
      order.resize(kept);
    }
    size_t kept = 1;
    while (kept < order.size() && weight(kept) >= static_cast<double>(params.min_p)) ++kept;
    order.resize(kept);
    // Without a cut by order the host draws in the order of ids.
    const bool by_id = params.min_p > 0.0f && (!limit_k || likely <= params.top_k);
    if (!limit_p && by_id) std::sort(order.begin(), order.end());
  }
  double total = 0.0;
  for (const TokenId id : order) total += weights[static_cast<size_t>(id)];
  double before = 0.0;
  for (const TokenId id : order) {
    const double weight = weights[static_cast<size_t>(id)];
    if (id == token) {
      EXPECT_LE(before / total - tolerance, uniform) << name << ", token " << token;
      EXPECT_GE((before + weight) / total + tolerance, uniform) << name << ", token " << token;
      EXPECT_GT(weight, 0.0) << name;
      return;
    }
    before += weight;
  }
  ADD_FAILURE() << name << ": token " << token << " was not kept";
}

}  // namespace headgate
