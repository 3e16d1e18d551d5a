#include "worker/sampling/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <vector>

namespace headgate {
namespace {

constexpr int kDraws = 40000;

std::vector<float> Logits(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p) + 3.0));
  return logits;
}

// Draws token 0, 1, ... of the stream and compares with `expected` (chi-square, p = 0.001).
void ExpectDistribution(const std::vector<float>& logits, SamplingParams params,
                        const std::vector<double>& expected) {
  params.seed = 1234;
  Sampler sampler;
  std::vector<int> counts(logits.size());
  for (int i = 0; i < kDraws; ++i) {
    const SampledToken sampled = sampler.Sample(logits, params, nullptr, i);
    ASSERT_FALSE(sampled.failed);
    ++counts[static_cast<size_t>(sampled.token)];
  }
  double chi = 0.0;
  int cells = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (expected[i] == 0.0) {
      EXPECT_EQ(counts[i], 0) << "token " << i << " should never be drawn";
      continue;
    }
    const double mean = expected[i] * kDraws;
    chi += (counts[i] - mean) * (counts[i] - mean) / mean;
    ++cells;
  }
  const double limits[] = {0.1, 0.1, 10.83, 13.82, 16.27, 18.47, 20.52, 22.46};
  EXPECT_LT(chi, limits[cells]) << cells << " cells";
}

const std::vector<double> kFive = {0.1, 0.4, 0.05, 0.25, 0.2};

TEST(SamplerTest, GreedyTakesTheLowestIdOfTheBest) {
  Sampler sampler;
  const std::vector<float> logits = {1, 7, 7, -3};
  EXPECT_EQ(sampler.Sample(logits, {}, nullptr, 0).token, 1);
}

TEST(SamplerTest, PlainTemperatureFollowsTheSoftmax) {
  ExpectDistribution(Logits(kFive), {.temperature = 1.0f}, kFive);
  double sum = 0;
  std::vector<double> squared;
  for (const double p : kFive) sum += p * p;
  for (const double p : kFive) squared.push_back(p * p / sum);
  ExpectDistribution(Logits(kFive), {.temperature = 0.5f}, squared);
}

TEST(SamplerTest, TopKKeepsTheBest) {
  ExpectDistribution(Logits(kFive), {.temperature = 1.0f, .top_k = 2},
                     {0, 0.4 / 0.65, 0, 0.25 / 0.65, 0});
  ExpectDistribution(Logits(kFive), {.temperature = 1.0f, .top_k = 1}, {0, 1, 0, 0, 0});
  ExpectDistribution(Logits({0.25, 0.25, 0.25, 0.25}), {.temperature = 1.0f, .top_k = 2},
                     {0.5, 0.5, 0, 0});
}

TEST(SamplerTest, TopPKeepsTheShortestPrefixThatReachesP) {
  ExpectDistribution(Logits(kFive), {.temperature = 1.0f, .top_p = 0.6f},
                     {0, 0.4 / 0.65, 0, 0.25 / 0.65, 0});
  ExpectDistribution(Logits(kFive), {.temperature = 1.0f, .top_p = 0.7f},
                     {0, 0.4 / 0.85, 0, 0.25 / 0.85, 0.2 / 0.85});
  ExpectDistribution(Logits(kFive), {.temperature = 1.0f, .top_p = 1e-6f}, {0, 1, 0, 0, 0});
}

TEST(SamplerTest, TopPCountsShareOfWhatTopKLeft) {
  // Of {0.4, 0.25, 0.2}, 0.4 is 47 %: p = 0.45 keeps it alone; of all five it would keep two.
  ExpectDistribution(Logits(kFive), {.temperature = 1.0f, .top_k = 3, .top_p = 0.45f},
                     {0, 1, 0, 0, 0});
}

TEST(SamplerTest, MinPComparesWithTheBest) {
  ExpectDistribution(Logits(kFive), {.temperature = 1.0f, .min_p = 0.45f},
                     {0, 0.4 / 0.85, 0, 0.25 / 0.85, 0.2 / 0.85});
  ExpectDistribution(Logits(kFive), {.temperature = 1.0f, .top_p = 0.95f, .min_p = 0.55f},
                     {0, 0.4 / 0.65, 0, 0.25 / 0.65, 0});
  ExpectDistribution(Logits(kFive), {.temperature = 1.0f, .top_k = 4, .min_p = 1.0f},
                     {0, 1, 0, 0, 0});
}

TEST(SamplerTest, TopPOverALargeRowStopsWhereASortWould) {
  // A flat row: 5,000 of 10,000 equal tokens hold half of the mass.
  const std::vector<float> logits(10000, 1.0f);
  Sampler sampler;
  TokenId largest = 0;
  for (int i = 0; i < 500; ++i) {
    const SamplingParams params{.temperature = 1.0f, .top_p = 0.5f, .seed = 3};
    largest = std::max(largest, sampler.Sample(logits, params, nullptr, i).token);
  }
  EXPECT_LT(largest, 5001);
  EXPECT_GT(largest, 4900);
}

TEST(SamplerTest, SameSeedAndIndexSameToken) {
  Sampler sampler, other;
  const std::vector<float> logits = Logits(kFive);
  const SamplingParams params{.temperature = 1.3f, .top_p = 0.9f, .seed = 77};
  bool differs = false;
  for (int i = 0; i < 100; ++i) {
    const TokenId token = sampler.Sample(logits, params, nullptr, i).token;
    EXPECT_EQ(token, other.Sample(logits, params, nullptr, i).token);
    differs |= token != sampler.Sample(logits, params, nullptr, i + 1000).token;
  }
  EXPECT_TRUE(differs);
}

TEST(SamplerTest, ExtremeTemperaturesStayInTheVocabulary) {
  Sampler sampler;
  const std::vector<float> logits = {-3e38f, 3e38f, 1.0f, 3e38f};
  for (const float temperature : {1e-45f, 1e-5f, 1.0f, 100.0f}) {
    for (int i = 0; i < 50; ++i) {
      const SampledToken sampled =
          sampler.Sample(logits, {.temperature = temperature, .seed = 1}, nullptr, i);
      EXPECT_FALSE(sampled.failed);
      EXPECT_TRUE(sampled.token == 1 || sampled.token == 3) << sampled.token;
    }
  }
}

TEST(SamplerTest, NonFiniteLogitsFail) {
  Sampler sampler;
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    const std::vector<float> logits = {1.0f, bad, 0.0f};
    EXPECT_TRUE(sampler.Sample(logits, {}, nullptr, 0).failed);
    EXPECT_TRUE(sampler.Sample(logits, {.temperature = 1.0f, .top_p = 0.5f}, nullptr, 0).failed);
    EXPECT_TRUE(sampler.Score(logits, 0).failed);
  }
  TokenHistory history;
  history.AddPrompt(0);
  const SamplingParams overflow{.repetition_penalty = 10.0f};
  EXPECT_TRUE(sampler.Sample(std::vector<float>{-3e38f, 1.0f}, overflow, &history, 0).failed);
}

TEST(SamplerTest, RepetitionPenaltyCountsPromptAndOutput) {
  Sampler sampler;
  TokenHistory history;
  history.AddPrompt(0);
  history.AddOutput(1);
  const std::vector<float> logits = {4.0f, 3.9f, 2.1f, -1.0f};
  EXPECT_EQ(sampler.Sample(logits, {.repetition_penalty = 2.0f}, &history, 0).token, 2);
  EXPECT_EQ(sampler.Sample(logits, {.repetition_penalty = 1.0f}, &history, 0).token, 0);
  std::vector<float> negative = {-1.0f};
  history.Penalise({.repetition_penalty = 2.0f}, negative);
  EXPECT_EQ(negative[0], -2.0f);
}

TEST(SamplerTest, PresenceAndFrequencyCountOutputOnly) {
  TokenHistory history;
  history.AddPrompt(0);
  for (int i = 0; i < 3; ++i) history.AddOutput(1);
  history.AddOutput(99);  // outside the row: ignored
  std::vector<float> logits = {5.0f, 5.0f, 5.0f};
  history.Penalise({.presence_penalty = 0.5f, .frequency_penalty = 0.25f}, logits);
  EXPECT_EQ(logits, (std::vector<float>{5.0f, 3.75f, 5.0f}));
}

TEST(SamplerTest, LogprobsAreTheModelsOwn) {
  Sampler sampler;
  TokenHistory history;
  history.AddOutput(1);
  const SamplingParams params{
      .temperature = 0.7f, .top_k = 1, .presence_penalty = 2.0f, .top_logprobs = 3};
  const SampledToken sampled = sampler.Sample(Logits(kFive), params, &history, 0);
  EXPECT_EQ(sampled.token, 3);  // the penalty put token 1 below it
  EXPECT_NEAR(sampled.logprob, std::log(0.25), 1e-5);
  ASSERT_EQ(sampled.top.size(), 3u);
  EXPECT_EQ(sampled.top[0].token, 1);
  EXPECT_NEAR(sampled.top[0].logprob, std::log(0.4), 1e-5);
  EXPECT_EQ(sampled.top[1].token, 3);
  EXPECT_EQ(sampled.top[2].token, 4);
  EXPECT_NEAR(sampled.top[2].logprob, std::log(0.2), 1e-5);
}

TEST(SamplerTest, ScoreGivesTheTargetsLogprobAndTheFirstChoice) {
  Sampler sampler;
  const ScoredToken scored = sampler.Score(Logits(kFive), 2);
  EXPECT_NEAR(scored.logprob, std::log(0.05), 1e-5);
  EXPECT_EQ(scored.top, 1);
  EXPECT_TRUE(sampler.Score(Logits(kFive), 5).failed);
  EXPECT_TRUE(sampler.Score(Logits(kFive), -1).failed);
}

}  // namespace
}  // namespace headgate
