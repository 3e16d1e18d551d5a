#include "worker/sequence_table.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace headgate {
namespace {

constexpr PlanLimits kLimits{.vocab = 100, .positions_max = 50, .step_tokens_max = 10};

TEST(SequenceTableTest, ReleaseAndRestartInOnePlanIsRefused) {
  SequenceTable table(kLimits);
  table.Add({1, {}, 0, 2});
  StepPlan plan;
  plan.releases = {1};
  plan.starts.push_back({1, {}, 0, 1});
  plan.chunks.push_back({1, 0, {5}, true, {}});
  EXPECT_EQ(table.Check(plan).code(), absl::StatusCode::kFailedPrecondition);
  plan.starts.clear();
  EXPECT_EQ(table.Check(plan).code(), absl::StatusCode::kFailedPrecondition);
}

TEST(SequenceTableTest, BatchFeedsTheTokenSampledLast) {
  SequenceTable table(kLimits);
  table.Add({1, {}, 0, 2});
  table.Add({2, {}, 0, 3});
  table.Advance({1, 0, {7, 8}, true, {}});
  StepPlan plan;
  plan.chunks.push_back({1, 2, {}, true, {}});
  plan.chunks.push_back({2, 0, {3, 4, 5}, false, {}});
  ASSERT_TRUE(table.Check(plan).ok());
  const Batch batch = SequenceTable::BuildBatch(plan);
  EXPECT_EQ(batch.tokens, (std::vector<TokenId>{kLastSampled, 3, 4, 5}));
  EXPECT_EQ(batch.positions, (std::vector<int32_t>{2, 0, 1, 2}));
  EXPECT_EQ(batch.sequences[1].offset, 1);
  EXPECT_EQ(batch.sequences[1].length, 3);
}

TEST(SequenceTableTest, ASampledTokenIsFedOnce) {
  SequenceTable table(kLimits);
  table.Add({1, {}, 4, 2});
  table.Advance({1, 0, {7, 8}, true, {}});
  EXPECT_EQ(table.Find(1)->next_token_index, 5);
  StepPlan plan;
  plan.chunks.push_back({1, 2, {}, false, {}});
  EXPECT_TRUE(table.Check(plan).ok());
  table.Advance(plan.chunks.front());
  EXPECT_EQ(table.Find(1)->next_token_index, 5);
  plan.chunks.front().position = 3;
  EXPECT_EQ(table.Check(plan).code(), absl::StatusCode::kFailedPrecondition);
}

TEST(SequenceTableTest, NegativeNumbersAndOverflowAreRefused) {
  SequenceTable table(kLimits);
  StepPlan plan;
  plan.starts.push_back({1, {}, -1, 0});
  EXPECT_FALSE(table.Check(plan).ok());
  plan.starts[0] = {1, {}, 0, -1};
  EXPECT_FALSE(table.Check(plan).ok());
  plan.starts[0] = {1, {}, 0, 0};
  plan.chunks.push_back({1, -1, {5}, false, {}});
  EXPECT_FALSE(table.Check(plan).ok());
  plan.chunks[0].position = INT64_MAX;
  EXPECT_FALSE(table.Check(plan).ok());
}

}  // namespace
}  // namespace headgate
