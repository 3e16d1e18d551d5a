#include "worker/sampling/host_sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <thread>

#include "worker/collective/local.h"

namespace headgate {
namespace {

constexpr int64_t kVocabulary = 10;

// The sequence's next rows: `tokens` from `position` on.
Batch Fed(SequenceId sequence, int64_t position, std::vector<TokenId> tokens) {
  Batch batch;
  batch.sequences.push_back({sequence, position, 0, static_cast<int64_t>(tokens.size())});
  batch.tokens = std::move(tokens);
  return batch;
}

// A step whose last row has `logits`; the token that follows.
SampledToken Step(HostSampler& sampler, Batch batch, std::vector<float> logits) {
  sampler.BeginStep(batch);
  const LogitUse use{.sequence = batch.sequences.front().sequence, .sample = true};
  const Tensor row{logits.data(), DType::kF32, 1, static_cast<int64_t>(logits.size())};
  EXPECT_TRUE(sampler.Choose(row, std::span(&use, 1)).ok());
  EXPECT_TRUE(sampler.EndStep().ok());
  return sampler.Await().value().front().sampled;
}

std::vector<float> Peaked(TokenId token) {
  std::vector<float> logits(kVocabulary, 0.0f);
  logits[static_cast<size_t>(token)] = 1.0f;
  return logits;
}

TEST(HostSamplerTest, PutsTheSampledTokenIntoTheNextBatch) {
  HostSampler sampler({.vocabulary = {kVocabulary}, .rows_max = 4});
  sampler.Add({1, {}, 0, 0});
  EXPECT_EQ(Step(sampler, Fed(1, 0, {3, 4}), Peaked(7)).token, 7);
  Batch next = Fed(1, 2, {kLastSampled});
  sampler.BeginStep(next);
  EXPECT_EQ(next.tokens.front(), 7);
}

TEST(HostSamplerTest, ASequenceThatFailedCanBeDecoded) {
  HostSampler sampler({.vocabulary = {kVocabulary}, .rows_max = 4});
  sampler.Add({1, {}, 0, 0});
  auto logits = Peaked(7);
  logits[0] = NAN;
  EXPECT_TRUE(Step(sampler, Fed(1, 0, {3}), logits).failed);
  Batch next = Fed(1, 1, {kLastSampled});
  sampler.BeginStep(next);
  EXPECT_EQ(next.tokens.front(), kTokenOfFailed);
}

// Prompt, replayed output and sampled tokens are each counted once and as what they are.
TEST(HostSamplerTest, HistoryCountsEveryTokenOnce) {
  HostSampler sampler({.vocabulary = {kVocabulary}, .rows_max = 4});
  SequenceStart start{1, {}, 0, 2};
  start.sampling.frequency_penalty = 1.0f;
  sampler.Add(start);
  // 7 and 8 are the prompt, 9 is replayed output: with equal logits of 7 and 9 the 7 wins.
  std::vector<float> logits(kVocabulary, 0.0f);
  logits[7] = logits[9] = 3.0f;
  EXPECT_EQ(Step(sampler, Fed(1, 0, {7, 8, 9}), logits).token, 7);
  // 7 was fed once as output and 9 once; 9 leads by less than a second occurrence would cost.
  logits[9] = 3.5f;
  EXPECT_EQ(Step(sampler, Fed(1, 3, {kLastSampled}), logits).token, 9);
  EXPECT_EQ(Step(sampler, Fed(1, 4, {kLastSampled}), logits).token, 7);
}

TEST(HostSamplerTest, OutcomesComeStepByStep) {
  HostSampler sampler({.vocabulary = {kVocabulary}, .rows_max = 4});
  sampler.Add({1, {}, 0, 0});
  std::vector<float> logits = Peaked(5);
  const Tensor row{logits.data(), DType::kF32, 1, kVocabulary};
  const LogitUse score{.sequence = 1, .target = 5};
  EXPECT_TRUE(sampler.Choose(row, std::span(&score, 1)).ok());
  EXPECT_TRUE(sampler.Choose(row, std::span(&score, 1)).ok());
  EXPECT_TRUE(sampler.EndStep().ok());
  EXPECT_TRUE(sampler.EndStep().ok());
  const auto first = sampler.Await().value();
  ASSERT_EQ(first.size(), 2u);
  EXPECT_EQ(first[1].scored.top, 5);
  EXPECT_NEAR(first[1].scored.logprob, 1.0 - std::log(std::exp(1.0) + kVocabulary - 1), 1e-6);
  EXPECT_TRUE(sampler.Await().value().empty());
}

TEST(HostSamplerTest, AllRanksFeedWhatRankZeroChose) {
  LocalGroup group(2, absl::Seconds(10));
  std::vector<TokenId> fed(2);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < 2; ++rank) {
    threads.emplace_back([&, rank] {
      const auto peers = group.Join(rank);
      HostSampler sampler({.vocabulary = {6, 4}, .rank = rank, .rows_max = 4});
      sampler.Connect(peers.get());
      sampler.Add({1, {}, 0, 0});
      const auto whole = Peaked(8);
      const auto begin = whole.begin() + (rank == 0 ? 0 : 6);
      Step(sampler, Fed(1, 0, {3}), std::vector<float>(begin, begin + (rank == 0 ? 6 : 4)));
      Batch next = Fed(1, 1, {kLastSampled});
      sampler.BeginStep(next);
      fed[static_cast<size_t>(rank)] = next.tokens.front();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(fed, (std::vector<TokenId>{8, 8}));
}

}  // namespace
}  // namespace headgate
