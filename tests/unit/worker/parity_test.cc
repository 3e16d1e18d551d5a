// The same tokens whatever the chunk size, the batch, the page size, the number of ranks, or a
// preemption in between: against the golden 200 tokens of stories260k.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <tuple>
#include <vector>

#include "nlohmann/json.hpp"
#include "tests/unit/worker/group_rig.h"

namespace headgate {
namespace {

// BOS and the 200 tokens that follow it greedily.
std::vector<TokenId> GoldenStory() {
  std::ifstream file(TestModel("stories260k") + "/golden.json");
  return nlohmann::json::parse(file)["greedy_ids_from_bos"].get<std::vector<TokenId>>();
}

std::vector<TokenId> Part(const std::vector<TokenId>& tokens, size_t begin, size_t end) {
  return {tokens.begin() + static_cast<std::ptrdiff_t>(begin),
          tokens.begin() + static_cast<std::ptrdiff_t>(end)};
}

WorkerOptions StoryOptions() { return SmallOptions(TestModel("stories260k")); }

// Prefills 100 golden tokens in chunks, decodes the other 100.
class ChunkParity : public testing::TestWithParam<std::tuple<int64_t, int64_t, int>> {};

TEST_P(ChunkParity, GoldenTokens) {
  const auto [chunk, page_tokens, ranks] = GetParam();
  WorkerOptions options = StoryOptions();
  options.page_tokens = page_tokens;
  auto rig = GroupRig::Create(options, ranks);
  ASSERT_TRUE(rig.ok()) << rig.status();
  const std::vector<TokenId> story = GoldenStory();
  ASSERT_EQ(story.size(), 201u);
  const auto results = (*rig)->Generate(1, Part(story, 0, 101), 100, chunk);
  ASSERT_TRUE(results.ok()) << results.status();
  EXPECT_EQ(Tokens(*results), Part(story, 101, 201));
}

INSTANTIATE_TEST_SUITE_P(Chunks, ChunkParity,
                         testing::Combine(testing::Values(1, 3, 7, 16, 64, 101),
                                          testing::Values(4, 16), testing::Values(1, 2, 3)));

TEST(ParityTest, AllTwoHundredTokensFromBos) {
  for (const int ranks : {1, 2, 3, 4}) {
    auto rig = GroupRig::Create(StoryOptions(), ranks);
    ASSERT_TRUE(rig.ok()) << rig.status();
    const std::vector<TokenId> story = GoldenStory();
    const auto results = (*rig)->Generate(1, {story[0]}, 200, 1);
    ASSERT_TRUE(results.ok()) << results.status();
    EXPECT_EQ(Tokens(*results), Part(story, 1, 201)) << ranks << " ranks";
  }
}

TEST(ParityTest, ReleasedAndReplayedMidway) {
  for (const int ranks : {1, 2}) {
    auto rig = GroupRig::Create(StoryOptions(), ranks);
    ASSERT_TRUE(rig.ok()) << rig.status();
    const std::vector<TokenId> story = GoldenStory();
    auto first = (*rig)->Generate(1, Part(story, 0, 20), 50, 7);
    ASSERT_TRUE(first.ok()) << first.status();
    ASSERT_TRUE((*rig)->Release(1).ok());
    const std::vector<TokenId> emitted = Tokens(*first);
    EXPECT_EQ(emitted, Part(story, 20, 70));
    auto rest = (*rig)->Generate(2, Part(story, 0, 20), 131, 16, {}, emitted);
    ASSERT_TRUE(rest.ok()) << rest.status();
    EXPECT_EQ(Tokens(*rest), Part(story, 70, 201));
  }
}

// Sequences at different places of the story, some in prefill, share every step.
TEST(ParityTest, BatchMatesDoNotMatter) {
  auto rig = GroupRig::Create(StoryOptions(), 2);
  ASSERT_TRUE(rig.ok()) << rig.status();
  const std::vector<TokenId> story = GoldenStory();
  struct Mate {
    SequenceId id;
    size_t prompt;
    size_t chunk;
    int64_t joins;  // step at which it starts
    int64_t position;
    std::vector<TokenId> output;
  };
  std::vector<Mate> mates = {{1, 1, 1, 0, 0, {}},
                             {2, 90, 13, 3, 0, {}},
                             {3, 150, 50, 10, 0, {}},
                             {4, 5, 2, 40, 0, {}},
                             {5, 33, 33, 41, 0, {}}};
  for (int64_t step = 0; step < 120; ++step) {
    StepPlan plan;
    std::vector<Mate*> sampling;
    for (Mate& mate : mates) {
      if (step < mate.joins || mate.prompt + mate.output.size() > 200) continue;
      if (step == mate.joins) {
        plan.starts.push_back({mate.id, {}, 0, static_cast<int64_t>(mate.prompt)});
      }
      Chunk chunk;
      chunk.sequence = mate.id;
      chunk.position = mate.position;
      const size_t at = static_cast<size_t>(mate.position);
      if (at < mate.prompt) chunk.tokens = Part(story, at, std::min(mate.prompt, at + mate.chunk));
      mate.position += chunk.length();
      chunk.sample = mate.position >= static_cast<int64_t>(mate.prompt);
      sampling.push_back(chunk.sample ? &mate : nullptr);
      plan.chunks.push_back(chunk);
    }
    if (plan.chunks.empty()) continue;
    auto results = (*rig)->Step(plan);
    ASSERT_TRUE(results.ok()) << results.status();
    for (size_t i = 0; i < sampling.size(); ++i) {
      if (sampling[i] != nullptr) sampling[i]->output.push_back((*results)[0].sequences[i].token);
    }
  }
  for (const Mate& mate : mates) {
    EXPECT_GT(mate.output.size(), 30u);
    EXPECT_EQ(mate.output, Part(story, mate.prompt, mate.prompt + mate.output.size())) << mate.id;
  }
}

TEST(ParityTest, ReducedPrecisionPagesStillTellTheStory) {
  WorkerOptions options = StoryOptions();
  options.page_dtype = DType::kBF16;
  auto rig = GroupRig::Create(options, 1);
  ASSERT_TRUE(rig.ok()) << rig.status();
  const std::vector<TokenId> story = GoldenStory();
  const auto results = (*rig)->Generate(1, {story[0]}, 40, 1);
  ASSERT_TRUE(results.ok()) << results.status();
  EXPECT_EQ(Tokens(*results), Part(story, 1, 41));
}

}  // namespace
}  // namespace headgate
