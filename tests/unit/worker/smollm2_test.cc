// SmolLM2-135M with quantised weights and bf16 pages against reference figures in fp32. Needs the
// converted model: HEADGATE_SMOLLM2_DIR names its folder.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "tests/unit/worker/golden_file.h"

namespace headgate {
namespace {

class SmolLm2Test : public testing::Test {
 protected:
  void SetUp() override {
    const char* folder = std::getenv("HEADGATE_SMOLLM2_DIR");
    if (folder == nullptr || *folder == '\0') {
      GTEST_SKIP() << "HEADGATE_SMOLLM2_DIR is not set: no model to test";
    }
    options_.model = ModelFolder{folder};
    options_.pages.memory_bytes = int64_t{256} << 20;
    options_.positions_max = 2048;
  }

  std::unique_ptr<GroupRig> Make(int ranks) {
    options_.threads = ranks == 1 ? 2 : 1;
    auto rig = GroupRig::Create(options_, ranks);
    EXPECT_TRUE(rig.ok()) << rig.status();
    return rig.ok() ? *std::move(rig) : nullptr;
  }

  ScoreDistance ScoreAll(GroupRig& rig, const nlohmann::json& golden) {
    ScoreDistance distance;
    SequenceId id = 100;
    for (const auto& window : golden["windows"]) {
      const auto tokens = window["tokens"].get<std::vector<TokenId>>();
      distance.Add(ScoreText(rig, ++id, tokens, 256), window, 0.05);
    }
    std::printf(
        "%zu tokens: top-1 %.4f (margin >= 0.05: %zu of %zu), |dlogprob| mean %.5f max %.4f\n",
        distance.tokens, distance.top1_share(), distance.clear_same_top1, distance.clear,
        distance.mean_difference(), distance.difference_max);
    return distance;
  }

  WorkerOptions options_;
};

TEST_F(SmolLm2Test, ScoresLikeTheReference) {
  const nlohmann::json golden = ReadGolden("smollm2_score");
  auto rig = Make(1);
  ASSERT_NE(rig, nullptr);
  const ScoreDistance distance = ScoreAll(*rig, golden);
  EXPECT_GE(distance.tokens, 2000u);
  EXPECT_GE(distance.top1_share(), 0.99);
  EXPECT_LE(distance.mean_difference(), 0.02);
}

TEST_F(SmolLm2Test, TwoRanksScoreLikeTheReference) {
  const nlohmann::json golden = ReadGolden("smollm2_score");
  auto rig = Make(2);
  ASSERT_NE(rig, nullptr);
  const ScoreDistance distance = ScoreAll(*rig, golden);
  EXPECT_GE(distance.top1_share(), 0.99);
  EXPECT_LE(distance.mean_difference(), 0.02);
}

// The same tokens as the reference on 1, 2 and 3 ranks, up to the first place where the reference's
// first choice leads its second by less than sums in another order may shift.
TEST_F(SmolLm2Test, GreedyTokensOnAnyNumberOfRanks) {
  const nlohmann::json golden = ReadGolden("smollm2_greedy");
  constexpr double kMarginMin = 0.02;
  for (const int ranks : {1, 2, 3}) {
    auto rig = Make(ranks);
    ASSERT_NE(rig, nullptr);
    SequenceId id = 0;
    for (const auto& prompt : golden["prompts"]) {
      const auto expected = prompt["output_ids"].get<std::vector<TokenId>>();
      const auto margin = prompt["margin"].get<std::vector<double>>();
      const auto results = rig->Generate(++id, prompt["prompt_ids"].get<std::vector<TokenId>>(),
                                         static_cast<int64_t>(expected.size()), 64);
      ASSERT_TRUE(results.ok()) << results.status();
      const std::vector<TokenId> tokens = Tokens(*results);
      const auto differs = std::mismatch(tokens.begin(), tokens.end(), expected.begin()).first;
      const size_t same = static_cast<size_t>(differs - tokens.begin());
      std::printf(
          "%d ranks, %s: %zu of %zu tokens the same%s\n", ranks,
          prompt["name"].get<std::string>().c_str(), same, expected.size(),
          same < expected.size() ? (", margin there " + std::to_string(margin[same])).c_str() : "");
      if (same < expected.size()) {
        EXPECT_LT(margin[same], kMarginMin) << "token " << same;
      }
    }
  }
}

}  // namespace
}  // namespace headgate
