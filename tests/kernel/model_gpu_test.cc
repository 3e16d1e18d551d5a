// Whole models on the GPU, in bf16, against the same reference figures in fp32 that the CPU's tests
// use (tests/unit/worker): a small random model of each family, and SmolLM2-135M where
// HEADGATE_SMOLLM2_DIR names it.
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/unit/worker/golden_file.h"

namespace headgate {
namespace {

WorkerOptions GpuOptions(const std::string& model_dir) {
  WorkerOptions options = SmallOptions(model_dir);
  options.device = "cuda:0";
  options.page_dtype = DType::kBF16;
  return options;
}

class GpuFamily : public testing::TestWithParam<std::string> {};

TEST_P(GpuFamily, ScoresLikeTheReference) {
  const nlohmann::json golden = ReadGolden(GetParam());
  auto rig = GroupRig::Create(GpuOptions(TestModel(GetParam())));
  ASSERT_TRUE(rig.ok()) << rig.status();
  const auto prompt = golden["prompt"].get<std::vector<TokenId>>();
  for (const int64_t chunk : {1, 5, 48}) {
    ScoreDistance distance;
    distance.Add(ScoreText(**rig, static_cast<SequenceId>(chunk), prompt, chunk), golden["score"],
                 0.25);
    std::printf("%s, chunks of %d: |dlogprob| mean %.5f max %.4f\n", GetParam().c_str(),
                static_cast<int>(chunk), distance.mean_difference(), distance.difference_max);
    EXPECT_EQ(distance.clear_same_top1, distance.clear);
    EXPECT_LT(distance.mean_difference(), 0.06) << "chunks of " << chunk;
  }
}

TEST_P(GpuFamily, ScoresLikeTheReferenceInMixedSteps) {
  const nlohmann::json golden = ReadGolden(GetParam());
  auto rig = GroupRig::Create(GpuOptions(TestModel(GetParam())));
  ASSERT_TRUE(rig.ok()) << rig.status();
  const auto prompt = golden["prompt"].get<std::vector<TokenId>>();
  for (const ScoredText& text : ScoreTogether(**rig, prompt, MixedSteps())) {
    ScoreDistance distance;
    distance.Add(text, golden["score"], 0.25);
    EXPECT_EQ(distance.clear_same_top1, distance.clear);
    EXPECT_LT(distance.mean_difference(), 0.06);
  }
}

// The decode kernel, its plan and its rotation take heads of 64 and 128; others the plain kernels.
INSTANTIATE_TEST_SUITE_P(Models, GpuFamily,
                         testing::Values("llama2_bias", "llama3", "mistral", "qwen2", "qwen3",
                                         "qwen3_64", "qwen3_128"));

TEST(GpuModelTest, SmolLm2ScoresLikeTheReference) {
  const char* folder = std::getenv("HEADGATE_SMOLLM2_DIR");
  if (folder == nullptr) GTEST_SKIP() << "HEADGATE_SMOLLM2_DIR is not set: no model to test";
  const nlohmann::json golden = ReadGolden("smollm2_score");
  WorkerOptions options = GpuOptions(folder);
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
