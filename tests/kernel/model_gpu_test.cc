// Whole models on the GPU, in bf16, against the same reference figures in fp32 that the CPU's tests
// use (tests/unit/worker): a small random model of each family, and SmolLM2-135M where
// HEADGATE_SMOLLM2_DIR names it.
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "absl/strings/str_cat.h"
#include "tests/kernel/model_rig.h"

namespace headgate {
namespace {

class GpuFamily : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    auto rig = GroupRig::Create(GpuOptions(TestModel(GetParam()), 0));
    ASSERT_TRUE(rig.ok()) << rig.status();
    rig_ = *std::move(rig);
    golden_ = ReadGolden(GetParam());
    prompt_ = golden_["prompt"].get<std::vector<TokenId>>();
  }

  std::unique_ptr<GroupRig> rig_;
  nlohmann::json golden_;
  std::vector<TokenId> prompt_;
};

TEST_P(GpuFamily, ScoresLikeTheReference) {
  for (const int64_t chunk : {1, 5, 48}) {
    SCOPED_TRACE(absl::StrCat("chunks of ", chunk));
    const ScoreDistance distance = ExpectSmallModelScores(
        ScoreText(*rig_, static_cast<SequenceId>(chunk), prompt_, chunk), golden_["score"]);
    std::printf("%s, chunks of %d: |dlogprob| mean %.5f max %.4f\n", GetParam().c_str(),
                static_cast<int>(chunk), distance.mean_difference(), distance.difference_max);
  }
}

TEST_P(GpuFamily, ScoresLikeTheReferenceInMixedSteps) {
  for (const ScoredText& text : ScoreTogether(*rig_, prompt_, MixedSteps())) {
    ExpectSmallModelScores(text, golden_["score"]);
  }
}

// On thousands of positions, with the same bf16 weights; the CPU rounds nothing else. Where first
// choices differ, the CPU has the GPU's nearly as likely as its own. A random token would be less
// likely by some 6: the mean has room for one in 1,000.
TEST_P(GpuFamily, ChoosesAsTheCpu) {
  constexpr int kTexts = 43;
  constexpr double kLostMax = 0.006;
  WorkerOptions on_cpu = SmallOptions(TestModel(GetParam()));
  on_cpu.weights = "bf16";
  auto cpu = GroupRig::Create(on_cpu);
  ASSERT_TRUE(cpu.ok()) << cpu.status();
  std::minstd_rand random(1);
  std::uniform_int_distribution<TokenId> token(
      0, static_cast<TokenId>(rig_->worker().Profile().vocab - 1));
  size_t positions = 0, same = 0;
  double lost = 0;  // log-probability, by choosing otherwise
  for (int text = 1; text <= kTexts; ++text) {
    std::vector<TokenId> tokens(48);
    for (TokenId& one : tokens) one = token(random);
    const auto id = static_cast<SequenceId>(text);
    const auto own = ScoreTargets(**cpu, id, tokens, tokens).top1;
    const auto gpus = ScoreTargets(*rig_, id, tokens, tokens).top1;
    ASSERT_EQ(gpus.size(), own.size());
    const auto best = ScoreTargets(**cpu, id, tokens, own).logprob;
    const auto of_gpus = ScoreTargets(**cpu, id, tokens, gpus).logprob;
    for (size_t i = 0; i < own.size(); ++i) {
      ++positions;
      same += gpus[i] == own[i];
      lost += best[i] - of_gpus[i];
      EXPECT_LE(best[i] - of_gpus[i], kSmallModelDifferenceMax)
          << "text " << text << ", position " << i;
    }
  }
  ASSERT_GE(positions, 2000u);
  const double share = static_cast<double>(same) / static_cast<double>(positions);
  lost /= static_cast<double>(positions);
  std::printf("%s: %zu positions, same first choice %.4f, else less likely: mean of all %.5f\n",
              GetParam().c_str(), positions, share, lost);
  EXPECT_GE(share, 0.95);
  EXPECT_LE(lost, kLostMax);
}

TEST_P(GpuFamily, FewOutputsOfAStepAreScoredAsAmongAll) {
  for (const int64_t chunk : {4, 16, 48}) {
    SCOPED_TRACE(absl::StrCat("chunks of ", chunk));
    ExpectFewOutputsAsAmongAll(*rig_, PlansInChunks(7, prompt_, chunk), kSmallModelDifferenceMax);
  }
  ExpectFewOutputsAsAmongAll(*rig_, PlansTogether(prompt_, MixedSteps()), kSmallModelDifferenceMax);
}

// The decode kernel, its plan and its rotation take heads of 64 and 128; others the plain kernels.
INSTANTIATE_TEST_SUITE_P(Models, GpuFamily, testing::ValuesIn(FamilyModels()));

TEST(GpuModelTest, SmolLm2ScoresLikeTheReference) {
  const char* folder = std::getenv("HEADGATE_SMOLLM2_DIR");
  if (folder == nullptr) GTEST_SKIP() << "HEADGATE_SMOLLM2_DIR is not set: no model to test";
  const nlohmann::json golden = ReadGolden("smollm2_score");
  WorkerOptions options = GpuOptions(folder, 0);
  options.positions_max = 2048;
  auto rig = GroupRig::Create(options);
  ASSERT_TRUE(rig.ok()) << rig.status();
  ScoreDistance distance;
  SequenceId id = 0;
  for (const auto& window : golden["windows"]) {
    const auto tokens = window["tokens"].get<std::vector<TokenId>>();
    distance.Add(ScoreText(**rig, ++id, tokens, 256), window, 0.05);
  }
  std::printf("SmolLM2: %zu tokens, top-1 %.4f, |dlogprob| mean %.5f max %.4f\n", distance.tokens,
              distance.top1_share(), distance.mean_difference(), distance.difference_max);
  EXPECT_GE(distance.tokens, 2000u);
  EXPECT_GE(distance.top1_share(), 0.99);
  EXPECT_LE(distance.mean_difference(), 0.02);
}

}  // namespace
}  // namespace headgate
