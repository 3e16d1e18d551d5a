#include "worker/model/model_source.h"

#include <gtest/gtest.h>

#include "tests/unit/worker/group_rig.h"
#include "worker/model/named_shape.h"

namespace headgate {
namespace {

TEST(ModelSourceTest, NamesAndShapes) {
  EXPECT_EQ(DefaultName(ModelFolder{"models/SmolLM2/"}), "SmolLM2");
  EXPECT_EQ(DefaultName(ModelFolder{"models/SmolLM2"}), "SmolLM2");
  EXPECT_EQ(DefaultName(RandomModel{"llama3-8b"}), "llama3-8b");
  EXPECT_EQ(ReadShape(ModelFolder{TestModel("stories260k")})->vocab, 512);
  EXPECT_EQ(ReadShape(RandomModel{"llama3-8b"})->vocab, 128256);
  EXPECT_EQ(ReadShape(RandomModel{"llama4"}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadShape(ModelFolder{TestModel("missing")}).status().code(),
            absl::StatusCode::kNotFound);
}

WorkerOptions RandomOptions(const std::string& weights) {
  WorkerOptions options = SmallOptions("");
  options.model = RandomModel{"stories260k"};
  options.weights = weights;
  return options;
}

std::vector<TokenId> Greedy(const WorkerOptions& options, int ranks) {
  auto rig = GroupRig::Create(options, ranks);
  EXPECT_TRUE(rig.ok()) << rig.status();
  if (!rig.ok()) return {};
  EXPECT_EQ((*rig)->worker().Profile().model, "stories260k");
  const auto results = (*rig)->Generate(1, {1, 2, 3}, 12, 16);
  EXPECT_TRUE(results.ok()) << results.status();
  if (!results.ok()) return {};
  for (const SequenceResult& result : *results) EXPECT_FALSE(result.failed);
  return Tokens(*results);
}

TEST(ModelSourceTest, RandomWeightsAreTheSameAtEveryStart) {
  const std::vector<TokenId> tokens = Greedy(RandomOptions("auto"), 1);
  EXPECT_EQ(tokens.size(), 12u);
  EXPECT_EQ(Greedy(RandomOptions("auto"), 1), tokens);
}

TEST(ModelSourceTest, RandomWeightsOnSeveralRanksAndInEveryFormat) {
  for (const char* weights : {"auto", "fp32", "int8", "int4"}) {
    EXPECT_EQ(Greedy(RandomOptions(weights), 3).size(), 12u) << weights;
  }
}

}  // namespace
}  // namespace headgate
