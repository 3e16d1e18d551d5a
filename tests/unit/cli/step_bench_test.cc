// `headgate bench step` on the CPU: what is counted, which layers share pages, groups of ranks.
#include "cli/bench/step_bench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "base/status_macros.h"
#include "tests/test_folder.h"

namespace headgate {
namespace {

using testing::HasSubstr;

// 20 rows of pages of 512 bytes: 1 MiB has room for 1,632 positions.
StepBenchOptions OneFitsTwoDoNot() {
  StepBenchOptions options;
  options.shape = "stories260k";
  options.device = "cpu";
  options.batches = {1, 2};
  options.contexts = {1024};
  options.steps = 1;
  options.kv_memory_mib = 1;
  return options;
}

TEST(StepBenchTest, WhatDoesNotFitIsARowOfTheTable) {
  std::ostringstream out;
  const absl::Status status = RunStepBench(OneFitsTwoDoNot(), out);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_THAT(out.str(), HasSubstr("\n       1      1024  "));
  EXPECT_THAT(out.str(), HasSubstr("\n       2      1024 does not fit\n"));
}

TEST(StepBenchTest, WhatDoesNotFitIsAnEntryOfTheJson) {
  StepBenchOptions options = OneFitsTwoDoNot();
  options.json = true;
  std::ostringstream out;
  const absl::Status status = RunStepBench(options, out);
  ASSERT_TRUE(status.ok()) << status;
  const nlohmann::json steps = nlohmann::json::parse(out.str())["steps"];
  ASSERT_EQ(steps.size(), 2u);
  EXPECT_GT(steps[0]["tokens_per_s"].get<double>(), 0.0);
  EXPECT_FALSE(steps[0].contains("error"));
  EXPECT_FALSE(steps[0].contains("idle_share"));  // the CPU has no clock
  EXPECT_EQ(steps[1]["batch"], 2);
  EXPECT_EQ(steps[1]["error"], "does not fit");
  EXPECT_FALSE(steps[1].contains("tokens_per_s"));
}

TEST(StepBenchTest, AContextBeyondTheShapeNamesItsFlag) {
  StepBenchOptions options = OneFitsTwoDoNot();
  options.contexts = {16, int64_t{1} << 21};
  std::ostringstream out;
  const absl::Status status = RunStepBench(options, out);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("--context 2097152: stories260k has"));
  EXPECT_EQ(out.str(), "");
}

// 5 layers of 4 kv heads; a page of 16 positions has 512 bytes.
StepBenchOptions Small() {
  StepBenchOptions options;
  options.shape = "stories260k";
  options.device = "cpu";
  options.batches = {2};
  options.contexts = {2000};
  options.steps = 2;
  options.kv_memory_mib = 64;
  options.json = true;
  return options;
}

absl::StatusOr<nlohmann::json> Measure(const StepBenchOptions& options) {
  std::ostringstream out;
  RETURN_IF_ERROR(RunStepBench(options, out));
  return nlohmann::json::parse(out.str());
}

std::string ErrorOf(const StepBenchOptions& options) {
  const absl::Status status = Measure(options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  return std::string(status.message());
}

// Of a sequence of 2,000 positions and the 6 of the steps.
constexpr int64_t kFullPages = 126;
constexpr int64_t kStreamingPages = 64 / 16 + 256 / 16 + 1;
constexpr int64_t kPageBytes = 512;

TEST(StepBenchTest, CountsWhatIsHeldAndWhatIsRead) {
  const auto found = Measure(Small());
  ASSERT_TRUE(found.ok()) << found.status();
  const nlohmann::json& step = (*found)["steps"][0];
  EXPECT_EQ(step["kv_bytes_held"], 2 * 20 * kFullPages * kPageBytes);
  // Tied embeddings: a step reads all that is held.
  EXPECT_EQ((*found)["weight_bytes"], (*found)["weight_bytes_held"]);
  const int64_t weights = (*found)["weight_bytes"];
  EXPECT_EQ(step["bytes"], weights + 2 * 20 * 2001 * kPageBytes / 16);
  EXPECT_EQ(step["bytes_held"], weights + 2 * 20 * kFullPages * kPageBytes);
  EXPECT_EQ((*found)["page_layers"], 5);
  EXPECT_EQ((*found)["ranks"], 1);
}

TEST(StepBenchTest, AShareOfTheHeadsStreamsWithoutAPattern) {
  StepBenchOptions options = Small();
  options.sparsity = 0.75;
  const auto found = Measure(options);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ((*found)["steps"][0]["kv_bytes_held"],
            2 * 5 * (kFullPages + 3 * kStreamingPages) * kPageBytes);
}

TEST(StepBenchTest, LayersShareThePagesOfTheFirstOnes) {
  StepBenchOptions options = Small();
  const auto alone = Measure(options);
  options.page_layers = 2;
  const auto shared = Measure(options);
  ASSERT_TRUE(alone.ok() && shared.ok()) << alone.status() << shared.status();
  const nlohmann::json &of_all = (*alone)["steps"][0], &of_two = (*shared)["steps"][0];
  EXPECT_EQ((*shared)["page_layers"], 2);
  EXPECT_EQ((*shared)["layers"], 5);
  EXPECT_EQ(of_two["kv_bytes_held"], 2 * 8 * kFullPages * kPageBytes);
  EXPECT_EQ(of_two["bytes"], of_all["bytes"]);  // every layer reads

  options.json = false;
  std::ostringstream out;
  ASSERT_TRUE(RunStepBench(options, out).ok());
  EXPECT_THAT(out.str(),
              HasSubstr("\n5 layers share the pages of 2: layer l has those of l % 2\n"));
}

TEST(StepBenchTest, StreamingHeadsSharePagesWhereLayersAreAlike) {
  StepBenchOptions options = Small();
  options.sparsity = 0.5;
  options.page_layers = 1;
  const auto found = Measure(options);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ((*found)["steps"][0]["kv_bytes_held"],
            2 * 2 * (kFullPages + kStreamingPages) * kPageBytes);

  const TestFolder folder;
  folder.Write("config.json", R"({"sink_size": 64, "recent_size": 256})");
  folder.Write("full_attention_heads.tsv",
               "1\t0\t0\t0\n0\t1\t0\t0\n1\t0\t0\t0\n0\t1\t0\t0\n1\t0\t0\t0\n");
  options.policy = folder.path();
  options.sparsity = -1;
  options.page_layers = 2;
  EXPECT_TRUE(Measure(options).ok());
  options.page_layers = 3;
  EXPECT_THAT(ErrorOf(options), HasSubstr("--page-layers 3: the heads of layer 3 do not keep what "
                                          "those of layer 0 keep"));
}

TEST(StepBenchTest, MorePageLayersThanLayersIsAnError) {
  StepBenchOptions options = Small();
  options.page_layers = 6;
  EXPECT_EQ(ErrorOf(options), "--page-layers 6: the shape has 5 layers; give 1 to 5");
}

// Rank 0 prints in a process of its own: to a file.
absl::StatusOr<nlohmann::json> MeasureGroup(const StepBenchOptions& options) {
  const TestFolder folder;
  const std::string file = folder.At("out.json");
  std::ofstream out(file);
  RETURN_IF_ERROR(RunStepBench(options, out));
  return nlohmann::json::parse(std::ifstream(file));
}

TEST(StepBenchTest, RanksAreAGroupThatRankZeroReports) {
  StepBenchOptions options = Small();
  options.ranks = 2;
  options.batches = {1, 2};
  options.sparsity = 0.5;
  options.page_layers = 2;
  const auto found = MeasureGroup(options);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ((*found)["ranks"], 2);
  ASSERT_EQ((*found)["steps"].size(), 2u);
  EXPECT_GT((*found)["steps"][0]["us"].get<double>(), 0.0);
  // Each rank has one full head and one that streams.
  EXPECT_EQ((*found)["steps"][1]["kv_bytes_held"],
            2 * 2 * (kFullPages + kStreamingPages) * kPageBytes);
  options.ranks = 1;
  const auto whole = Measure(options);
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_LT((*found)["weight_bytes"].get<int64_t>(),
            (*whole)["weight_bytes"].get<int64_t>() * 6 / 10);
}

// 3 ranks of 4 kv heads: which rank has two changes from layer to layer, so memory differs.
TEST(StepBenchTest, WhatDoesNotFitOneRankNoRankMeasures) {
  StepBenchOptions options = Small();
  options.ranks = 3;
  options.batches = {1, 2, 3};
  options.kv_memory_mib = 1;
  const auto found = MeasureGroup(options);
  ASSERT_TRUE(found.ok()) << found.status();
  const nlohmann::json& steps = (*found)["steps"];
  ASSERT_EQ(steps.size(), 3u);
  EXPECT_FALSE(steps[0].contains("error"));
  EXPECT_EQ(steps[2]["error"], "does not fit");
}

TEST(StepBenchTest, ARankThatCannotStartEndsTheGroupWithItsMessage) {
  StepBenchOptions options = Small();
  options.ranks = 2;
  options.kv_memory_mib = 1;
  options.page_tokens = 4096;  // 128 KiB: 8 pages for 10 rows
  const absl::Status status = MeasureGroup(options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              testing::ContainsRegex("^rank [01]: pages: 8 pages of 131072 bytes"));
}

TEST(StepBenchTest, RanksThatAShapeOrDeviceCannotHaveAreErrorsOfTheCaller) {
  StepBenchOptions options = Small();
  options.ranks = 5;
  EXPECT_THAT(ErrorOf(options), HasSubstr("the model has 4 kv heads a layer, use 1 to 4 ranks"));
  options.ranks = 2;
  options.device = "cuda:1";
  EXPECT_THAT(ErrorOf(options), HasSubstr("2 ranks need a GPU each; give --device cuda"));
}

}  // namespace
}  // namespace headgate
