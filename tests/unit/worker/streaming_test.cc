// Streaming heads in a whole worker: what they see depends on the position alone, and their pages
// stop growing.
#include <gtest/gtest.h>

#include <fstream>
#include <vector>

#include "tests/test_folder.h"
#include "tests/unit/worker/golden_file.h"

namespace headgate {
namespace {

// A head pattern in which every second head streams.
TestFolder HalfStreaming(int layers, int kv_heads, int sinks, int recent) {
  TestFolder folder;
  std::ofstream tsv(folder.At("full_attention_heads.tsv"));
  for (int layer = 0; layer < layers; ++layer) {
    for (int head = 0; head < kv_heads; ++head) {
      tsv << (head == 0 ? "" : "\t") << ((layer + head) % 2 == 0 ? "0.9" : "0.1");
    }
    tsv << "\n";
  }
  std::ofstream(folder.At("config.json"))
      << "{\"sink_size\": " << sinks << ", \"recent_size\": " << recent << "}";
  return folder;
}

std::vector<TokenId> SomeTokens(int count, int vocab) {
  std::vector<TokenId> tokens;
  uint32_t state = 7;
  for (int i = 0; i < count; ++i) {
    state = state * 1664525u + 1013904223u;
    tokens.push_back(static_cast<TokenId>((state >> 8) % static_cast<uint32_t>(vocab)));
  }
  return tokens;
}

TEST(StreamingTest, AWindowThatCoversEverythingChangesNothing) {
  std::ifstream file(TestModel("stories260k") + "/golden.json");
  const auto story = nlohmann::json::parse(file)["greedy_ids_from_bos"].get<std::vector<TokenId>>();
  WorkerOptions options = StoryOptions();
  const TestFolder pattern = HalfStreaming(5, 4, 16, 512);
  options.policy_dir = pattern.path();
  options.policy.sparsity = 1.0;
  for (const int ranks : {1, 3}) {
    auto rig = GroupRig::Create(options, ranks);
    ASSERT_TRUE(rig.ok()) << rig.status();
    ASSERT_EQ((*rig)->worker().Profile().shape.rows.size(), 1u);
    ASSERT_EQ((*rig)->worker().Profile().shape.rows[0].head_class, HeadClass::kStreaming);
    const auto results = (*rig)->Generate(1, {story[0]}, 200, 1);
    ASSERT_TRUE(results.ok()) << results.status();
    EXPECT_EQ(Tokens(*results), std::vector<TokenId>(story.begin() + 1, story.end()));
  }
}

TEST(StreamingTest, WhatAHeadSeesDoesNotDependOnChunks) {
  WorkerOptions options = StoryOptions();
  options.page_tokens = 4;
  const TestFolder pattern = HalfStreaming(5, 4, 4, 24);
  options.policy_dir = pattern.path();
  options.policy.sparsity = 0.5;
  const std::vector<TokenId> tokens = SomeTokens(200, 512);
  auto rig = GroupRig::Create(options, 1);
  ASSERT_TRUE(rig.ok()) << rig.status();
  const ScoredText whole = ScoreText(**rig, 1, tokens, 200);
  for (const int64_t chunk : {1, 3, 7, 16, 64}) {
    const ScoredText again = ScoreText(**rig, 2, tokens, chunk);
    EXPECT_EQ(again.logprob, whole.logprob) << "chunks of " << chunk;  // the same bits
  }
  auto full = GroupRig::Create(StoryOptions(), 1);
  EXPECT_NE(ScoreText(**full, 1, tokens, 200).logprob, whole.logprob);
  auto split = GroupRig::Create(options, 2);
  ASSERT_TRUE(split.ok()) << split.status();
  const ScoredText two = ScoreText(**split, 1, tokens, 64);
  for (size_t i = 0; i < two.logprob.size(); ++i) {
    EXPECT_NEAR(two.logprob[i], whole.logprob[i], 1e-3);
  }
}

TEST(StreamingTest, PagesOfStreamingRowsStopGrowing) {
  const TestFolder folder;
  folder.CopyFrom(TestModel("llama3"));
  std::ifstream in(folder.At("config.json"));
  nlohmann::json config = nlohmann::json::parse(in);
  config["max_position_embeddings"] = 16384;
  folder.Write("config.json", config.dump());
  const int layers = config["num_hidden_layers"].get<int>();
  const int kv_heads = config["num_key_value_heads"].get<int>();

  WorkerOptions options = SmallOptions(folder.path());
  const TestFolder pattern = HalfStreaming(layers, kv_heads, 16, 64);
  options.policy_dir = pattern.path();
  options.policy.threshold = 0.5;
  options.threads = 2;
  auto rig = GroupRig::Create(options, 1);
  ASSERT_TRUE(rig.ok()) << rig.status();
  const std::vector<TokenId> tokens = SomeTokens(8192, 300);
  uint32_t streaming_at_1k = 0, full_at_1k = 0;
  StepPlan plan;
  plan.starts.push_back({1, {}, 0, 8192});
  for (int64_t position = 0; position < 8192; position += 512) {
    plan.chunks = {
        {1, position, {tokens.begin() + position, tokens.begin() + position + 512}, false, {}}};
    const auto results = (*rig)->Step(plan);
    ASSERT_TRUE(results.ok()) << results.status();
    plan = StepPlan();
    const PageStats& pages = results->front().pages;
    if (position + 512 == 1024) {
      streaming_at_1k = pages.referenced_streaming;
      full_at_1k = pages.referenced_full;
      EXPECT_GT(streaming_at_1k, 0u);
    }
    if (position + 512 == 8192) {
      EXPECT_EQ(pages.referenced_streaming, streaming_at_1k);
      EXPECT_EQ(pages.referenced_full, 8 * full_at_1k);
      EXPECT_GT(pages.freed_by_policy, 0u);
    }
  }
}

}  // namespace
}  // namespace headgate
