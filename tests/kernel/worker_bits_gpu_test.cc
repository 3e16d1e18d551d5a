// The same plans give the same bits in every round: prompts of thousands of positions cut over
// steps that are full, beside sequences that decode, one step submitted before the last is read.
// What comes too early or too late between kernels shows here, whatever it spoils.
//
// HEADGATE_BITS_ROUNDS: how many rounds are compared with the first (2). A real model's shape with
// random weights: a round takes seconds.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/unit/worker/group_rig.h"

namespace headgate {
namespace {

constexpr int64_t kStepTokens = 8192;
constexpr int64_t kPromptTokens = 4096;
constexpr SequenceId kSequences = 40;
constexpr int kDecodeSteps = 40;  // of all sequences, after the last prompt

int Rounds() {
  const char* rounds = std::getenv("HEADGATE_BITS_ROUNDS");
  return rounds == nullptr ? 2 : std::atoi(rounds);
}

std::vector<TokenId> PromptOf(SequenceId id, int64_t vocab) {
  std::minstd_rand random(static_cast<uint32_t>(id));
  std::uniform_int_distribution<TokenId> token(0, static_cast<TokenId>(vocab - 1));
  std::vector<TokenId> prompt(static_cast<size_t>(kPromptTokens));
  for (TokenId& one : prompt) one = token(random);
  return prompt;
}

// As the scheduler would: who decodes comes first, then prompts in order as far as they fit.
std::vector<StepPlan> PlansOf(int64_t vocab) {
  std::vector<StepPlan> plans;
  std::vector<int64_t> fed(kSequences + 1);
  SequenceId filling = 1;
  SamplingParams sampling;
  sampling.top_logprobs = 0;
  for (int decode_steps = 0; decode_steps < kDecodeSteps;) {
    StepPlan& plan = plans.emplace_back();
    plan.step = plans.size();
    int64_t left = kStepTokens;
    for (SequenceId id = 1; id < filling; ++id, --left) {
      plan.chunks.push_back({id, fed[id]++, {}, true, {}});
    }
    if (filling > kSequences) ++decode_steps;
    while (filling <= kSequences && left > 0) {
      if (fed[filling] == 0) plan.starts.push_back({filling, sampling, 0, kPromptTokens});
      const std::vector<TokenId> prompt = PromptOf(filling, vocab);
      const auto begin = prompt.begin() + fed[filling];
      const int64_t count = std::min(left, kPromptTokens - fed[filling]);
      const bool ends = fed[filling] + count == kPromptTokens;
      plan.chunks.push_back({filling, fed[filling], {begin, begin + count}, ends, {}});
      left -= count;
      fed[filling] += count;
      if (!ends) break;
      ++filling;
    }
  }
  return plans;
}

class GpuWorkerBitsTest : public testing::Test {
 protected:
  void SetUp() override {
    WorkerOptions options;
    options.model = RandomModel{"llama3-8b"};
    options.device = "cuda:0";
    options.step_tokens_max = kStepTokens;
    auto rig = GroupRig::Create(options);
    ASSERT_TRUE(rig.ok()) << rig.status();
    rig_ = *std::move(rig);
    plans_ = PlansOf(rig_->worker().Profile().vocab);
  }

  // The sampled sequences' results, step by step.
  std::vector<std::vector<SequenceResult>> Round(Epoch epoch) {
    EXPECT_TRUE(rig_->BeginEpoch(epoch).ok());
    Worker& worker = rig_->worker();
    std::vector<std::vector<SequenceResult>> results;
    const auto await = [&] {
      auto result = worker.Await();
      ASSERT_TRUE(result.ok()) << result.status();
      results.push_back(std::move(result->sequences));
    };
    for (StepPlan& plan : plans_) {
      if (worker.in_flight() == Worker::kStepsInFlightMax) await();
      plan.epoch = epoch;
      EXPECT_TRUE(worker.Submit(plan).ok());
    }
    while (worker.in_flight() > 0) await();
    return results;
  }

  std::unique_ptr<GroupRig> rig_;
  std::vector<StepPlan> plans_;
};

std::string Told(const SequenceResult& one) {
  return absl::StrCat(one.failed ? "failed" : absl::StrCat("token ", one.token), " at ",
                      absl::StrFormat("%a", one.logprob));
}

TEST_F(GpuWorkerBitsTest, EveryRoundGivesTheSameBits) {
  const auto expected = Round(2);
  for (const auto& step : expected) {
    for (const SequenceResult& one : step) EXPECT_FALSE(one.failed) << one.sequence;
  }
  for (int round = 1; round <= Rounds(); ++round) {
    const auto got = Round(static_cast<Epoch>(round) + 2);
    ASSERT_EQ(got.size(), expected.size());
    int told = 0;
    for (size_t step = 0; step < got.size() && told < 10; ++step) {
      for (size_t i = 0; i < got[step].size() && told < 10; ++i) {
        if (got[step][i] == expected[step][i]) continue;
        ++told;
        ADD_FAILURE() << "round " << round << ", step " << step << ", sequence "
                      << got[step][i].sequence << ": " << Told(got[step][i]) << ", in the first "
                      << Told(expected[step][i]);
      }
    }
  }
}

}  // namespace
}  // namespace headgate
