#include "kvstore/policy/head_pattern.h"

#include <algorithm>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace headgate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kConfig[] = R"({"sink_size": 128, "recent_size": 256, "threshold": 0.5})";

std::string PatternFolder(const std::string& model) {
  return std::string(HEADGATE_SOURCE_DIR) + "/tests/data/head_patterns/" + model;
}

std::string Complaint(absl::string_view tsv, absl::string_view config = kConfig) {
  const auto pattern = ParseHeadPattern(tsv, config, "duo");
  EXPECT_EQ(pattern.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(pattern.status().message());
}

TEST(HeadPattern, ReadsAPublishedPattern) {
  const auto pattern = LoadHeadPattern(PatternFolder("Llama-3-8B-Instruct-Gradient-1048k"));
  ASSERT_TRUE(pattern.ok()) << pattern.status();
  EXPECT_EQ(pattern->layers, 32);
  EXPECT_EQ(pattern->kv_heads, 8);
  ASSERT_EQ(pattern->gates.size(), 256u);
  EXPECT_EQ(pattern->gates[0], 0.859375);
  EXPECT_EQ(pattern->gates[2], 1.0);
  EXPECT_EQ(pattern->gates[4], 0.0);  // -9.25e-05 in the file
  EXPECT_EQ(pattern->gates[7], 0.2734375);
  EXPECT_EQ(pattern->sinks, 128);
  EXPECT_EQ(pattern->recent, 256);
}

TEST(HeadPattern, AcceptsAnyLineEnd) {
  for (const char* tsv : {"0.5\t1\n0\t0.25\n", "0.5\t1\n0\t0.25", "0.5\t1\r\n0\t0.25\r\n"}) {
    const auto pattern = ParseHeadPattern(tsv, kConfig, "duo");
    ASSERT_TRUE(pattern.ok()) << pattern.status();
    EXPECT_THAT(pattern->gates, ElementsAre(0.5, 1, 0, 0.25));
  }
}

TEST(HeadPattern, NamesFileRowAndColumn) {
  EXPECT_THAT(Complaint("0.5\t1\n0\tx\n"),
              HasSubstr("duo/full_attention_heads.tsv: row 2, column 2: not a gate"));
  EXPECT_THAT(Complaint("nan\t1\n"), HasSubstr("row 1, column 1"));
  EXPECT_THAT(Complaint("0.5\tinf\n"), HasSubstr("row 1, column 2"));
  EXPECT_THAT(Complaint("0.5\t7\n"), HasSubstr("row 1, column 2"));
  EXPECT_THAT(Complaint("0.5\t\n"), HasSubstr("row 1, column 2"));
  EXPECT_THAT(Complaint("0.5\t1\n0\n"), HasSubstr("row 2 has 1 columns, expected 2"));
  EXPECT_THAT(Complaint("0.5\t1\n\n0\t1\n"), HasSubstr("row 2"));
  EXPECT_THAT(Complaint(""), HasSubstr("no rows"));
  EXPECT_THAT(Complaint("\r\n"), HasSubstr("no rows"));
}

TEST(HeadPattern, ConfigJsonIsStrictJson) {
  const auto damage = [](absl::string_view config) {
    const absl::Status status = ParseHeadPattern("1\n", config, "duo").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
    return std::string(status.message());
  };
  EXPECT_THAT(damage("{"), HasSubstr("duo/config.json is not well-formed JSON"));
  EXPECT_THAT(damage(R"({"sink_size": 1, "sink_size": 2, "recent_size": 1})"),
              HasSubstr("duo/config.json holds the key \"sink_size\" twice"));
}

TEST(HeadPattern, NamesTheKeyOfConfigJson) {
  EXPECT_THAT(Complaint("1\n", "[1]"), HasSubstr("not a JSON object"));
  EXPECT_THAT(Complaint("1\n", R"({"recent_size": 256})"), HasSubstr("sink_size"));
  EXPECT_THAT(Complaint("1\n", R"({"sink_size": 128, "recent_size": "256"})"),
              HasSubstr("recent_size"));
  EXPECT_THAT(Complaint("1\n", R"({"sink_size": 128, "recent_size": 0})"),
              HasSubstr("recent_size"));
  EXPECT_THAT(Complaint("1\n", R"({"sink_size": -1, "recent_size": 1})"), HasSubstr("sink_size"));
  EXPECT_THAT(Complaint("1\n", R"({"sink_size": 18446744073709551615, "recent_size": 1})"),
              HasSubstr("sink_size"));
}

TEST(HeadPattern, SaysWhichFileIsMissing) {
  const auto pattern = LoadHeadPattern(PatternFolder("no-such-model"));
  EXPECT_EQ(pattern.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(pattern.status().message()),
              HasSubstr("no-such-model/full_attention_heads.tsv"));
}

TEST(FullHeadsBySparsity, TakesTheQuantileAndBreaksTiesInOrder) {
  HeadPattern pattern{.layers = 2, .kv_heads = 2, .gates = {0.5, 0.5, 0.5, 0.1}};
  EXPECT_THAT(FullHeadsBySparsity(pattern, 0.0), ElementsAre(true, true, true, true));
  EXPECT_THAT(FullHeadsBySparsity(pattern, 0.25), ElementsAre(true, true, true, false));
  EXPECT_THAT(FullHeadsBySparsity(pattern, 0.5), ElementsAre(false, true, true, false));
  EXPECT_THAT(FullHeadsBySparsity(pattern, 1.0), ElementsAre(false, false, false, false));
}

TEST(FullHeadsBySparsity, HalfOfAPublishedPatternStreams) {
  const auto pattern = LoadHeadPattern(PatternFolder("Mistral-7B-Instruct-v0.3"));
  ASSERT_TRUE(pattern.ok());
  const std::vector<bool> full = FullHeadsBySparsity(*pattern, 0.5);
  EXPECT_EQ(std::count(full.begin(), full.end(), true), 128);
  double least_full = 1.0;
  double most_streaming = 0.0;
  for (size_t i = 0; i < full.size(); ++i) {
    double& bound = full[i] ? least_full : most_streaming;
    bound = full[i] ? std::min(bound, pattern->gates[i]) : std::max(bound, pattern->gates[i]);
  }
  EXPECT_LE(most_streaming, least_full);
  const std::vector<bool> fifth = FullHeadsBySparsity(*pattern, 0.2);
  EXPECT_EQ(std::count(fifth.begin(), fifth.end(), false), 51);
}

TEST(FullHeadsByThreshold, ReachingItIsEnough) {
  HeadPattern pattern{.layers = 1, .kv_heads = 3, .gates = {0.49, 0.5, 1.0}};
  EXPECT_THAT(FullHeadsByThreshold(pattern, 0.5), ElementsAre(false, true, true));
}

}  // namespace
}  // namespace headgate
