// A small random model of each family against reference figures of another implementation.
#include <gtest/gtest.h>

#include <fstream>

#include "tests/test_folder.h"
#include "tests/unit/worker/golden_file.h"

namespace headgate {
namespace {

class Family : public testing::TestWithParam<std::tuple<std::string, int>> {
 protected:
  void SetUp() override {
    WorkerOptions options = SmallOptions(TestModel(name()));
    if (name() == "llama2_bias") options.weights = "fp32";  // stored as fp16: bf16 would round it
    auto rig = GroupRig::Create(options, std::get<1>(GetParam()));
    ASSERT_TRUE(rig.ok()) << rig.status();
    rig_ = *std::move(rig);
    golden_ = ReadGolden(name());
  }
  std::string name() const { return std::get<0>(GetParam()); }

  std::unique_ptr<GroupRig> rig_;
  nlohmann::json golden_;
};

TEST_P(Family, ScoresThePromptLikeTheReference) {
  const auto prompt = golden_["prompt"].get<std::vector<TokenId>>();
  for (const int64_t chunk : {1, 5, 48}) {
    ScoreDistance distance;
    distance.Add(ScoreText(*rig_, 1, prompt, chunk), golden_["score"], 1e-3);
    EXPECT_EQ(distance.clear_same_top1, distance.clear);
    EXPECT_LT(distance.difference_max, 1e-3) << "chunks of " << chunk;
    EXPECT_GT(distance.clear, 40u);
  }
}

TEST_P(Family, ScoresLikeTheReferenceInMixedSteps) {
  const auto prompt = golden_["prompt"].get<std::vector<TokenId>>();
  for (const ScoredText& text : ScoreTogether(*rig_, prompt, MixedSteps())) {
    ScoreDistance distance;
    distance.Add(text, golden_["score"], 1e-3);
    EXPECT_EQ(distance.clear_same_top1, distance.clear);
    EXPECT_LT(distance.difference_max, 1e-3);
  }
}

TEST_P(Family, FewOutputsOfAStepAreScoredAsAmongAll) {
  const auto prompt = golden_["prompt"].get<std::vector<TokenId>>();
  for (const int64_t chunk : {4, 16, 48}) {
    SCOPED_TRACE(chunk);
    ExpectFewOutputsAsAmongAll(*rig_, PlansInChunks(7, prompt, chunk), 1e-4f);
  }
  ExpectFewOutputsAsAmongAll(*rig_, PlansTogether(prompt, MixedSteps()), 1e-4f);
}

TEST_P(Family, GeneratesWhatTheReferenceGenerates) {
  const auto prompt = golden_["prompt"].get<std::vector<TokenId>>();
  const auto expected = golden_["greedy"]["output_ids"].get<std::vector<TokenId>>();
  const auto results =
      rig_->Generate(1, prompt, static_cast<int64_t>(expected.size()), 7, {.top_logprobs = 2});
  ASSERT_TRUE(results.ok()) << results.status();
  EXPECT_EQ(Tokens(*results), expected);
  for (size_t i = 0; i < expected.size(); ++i) {
    const SequenceResult& result = (*results)[i];
    EXPECT_NEAR(result.logprob, golden_["greedy"]["logprob"][i].get<double>(), 1e-3);
    ASSERT_EQ(result.top.size(), 2u);
    EXPECT_EQ(result.top[0], (TokenLogprob{result.token, result.logprob}));
    EXPECT_NEAR(result.top[0].logprob - result.top[1].logprob,
                golden_["greedy"]["margin"][i].get<double>(), 1e-3);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Family,
                         testing::Combine(testing::ValuesIn(FamilyModels()), testing::Values(1, 2)),
                         [](const auto& param) {
                           return std::get<0>(param.param) + "_" +
                                  std::to_string(std::get<1>(param.param)) + "ranks";
                         });

// A copy of a model folder whose config.json says something else.
TestFolder ChangedModel(const std::string& name, const std::string& key,
                        const nlohmann::json& value) {
  TestFolder folder;
  folder.CopyFrom(TestModel(name));
  std::ifstream in(folder.At("config.json"));
  nlohmann::json config = nlohmann::json::parse(in);
  config[key] = value;
  folder.Write("config.json", config.dump());
  return folder;
}

TEST(FamilyTest, SlidingWindowIsRefusedBeyondTheWindow) {
  const TestFolder model = ChangedModel("mistral", "sliding_window", 32);
  WorkerOptions options = SmallOptions(model.path());
  const absl::Status refused = Worker::Check(options);
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnimplemented);
  EXPECT_NE(refused.message().find("sliding_window 32"), absl::string_view::npos) << refused;
  options.positions_max = 32;
  EXPECT_TRUE(Worker::Check(options).ok()) << Worker::Check(options);
  auto rig = GroupRig::Create(options);
  ASSERT_TRUE(rig.ok()) << rig.status();
  EXPECT_EQ((*rig)->worker().Profile().max_positions, 32);
}

TEST(FamilyTest, WrongShapesNameTheTensor) {
  const TestFolder model = ChangedModel("llama3", "intermediate_size", 8);
  const absl::Status status = Worker::Check(SmallOptions(model.path()));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(status.message().find("mlp.gate_proj.weight"), absl::string_view::npos) << status;
}

}  // namespace
}  // namespace headgate
