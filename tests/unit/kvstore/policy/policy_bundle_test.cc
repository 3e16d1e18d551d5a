#include "kvstore/policy/policy_bundle.h"

#include <cmath>
#include <filesystem>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/test_folder.h"

namespace headgate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr PolicyTarget kSmall{.layers = 2, .kv_heads = 2, .page_tokens = 16};
constexpr RowSpec kFullRow;

class PolicyBundleTest : public ::testing::Test {
 protected:
  PolicyBundleTest() {
    Write("full_attention_heads.tsv", "0.9\t0.1\n0.6\t0.2\n");
    Write("config.json", R"({"sink_size": 20, "recent_size": 50})");
  }

  void Write(const std::string& file, const std::string& text) { folder_.Write(file, text); }
  absl::StatusOr<PolicyBundle> Load(const PolicyOptions& options = {},
                                    const PolicyTarget& target = kSmall) {
    return LoadPolicyBundle(folder_.path(), options, target);
  }
  std::string Complaint(const PolicyOptions& options = {}, const PolicyTarget& target = kSmall) {
    const auto bundle = Load(options, target);
    EXPECT_EQ(bundle.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(bundle.status().message());
  }

  const TestFolder folder_;
};

TEST_F(PolicyBundleTest, ABareFolderWorks) {
  const auto bundle = Load();
  ASSERT_TRUE(bundle.ok()) << bundle.status();
  const RowSpec streaming{HeadClass::kStreaming, 32, 64};  // rounded up to pages of 16
  EXPECT_THAT(bundle->rows, ElementsAre(kFullRow, streaming, kFullRow, streaming));
  EXPECT_THAT(bundle->id, StartsWith("duo-"));
}

TEST_F(PolicyBundleTest, FlagsWinOverPolicyJsonOverConfigJson) {
  Write("policy.json", R"({"kind": "duo", "recent": 96, "sparsity": 1})");
  auto bundle = Load();
  ASSERT_TRUE(bundle.ok()) << bundle.status();
  EXPECT_THAT(bundle->rows, ::testing::Each(RowSpec{HeadClass::kStreaming, 32, 96}));

  bundle = Load({.sinks = 0, .recent = 1, .sparsity = std::nullopt, .threshold = 0.15});
  ASSERT_TRUE(bundle.ok()) << bundle.status();
  EXPECT_THAT(bundle->rows,
              ElementsAre(kFullRow, RowSpec{HeadClass::kStreaming, 0, 16}, kFullRow, kFullRow));
}

TEST_F(PolicyBundleTest, FullNeedsNoPattern) {
  std::filesystem::remove(folder_.At("full_attention_heads.tsv"));
  Write("policy.json", R"({"kind": "full"})");
  const auto bundle = Load();
  ASSERT_TRUE(bundle.ok()) << bundle.status();
  EXPECT_THAT(bundle->rows, ::testing::Each(kFullRow));
  EXPECT_EQ(bundle->rows.size(), 4u);
  EXPECT_EQ(bundle->id, FullPolicy(kSmall).id);
}

TEST_F(PolicyBundleTest, TheIdNamesWhatIsKept) {
  const auto id = [&](const PolicyOptions& options, const PolicyTarget& target = kSmall) {
    const auto bundle = Load(options, target);
    EXPECT_TRUE(bundle.ok()) << bundle.status();
    return bundle->id;
  };
  PolicyOptions half;
  half.sparsity = 0.5;
  EXPECT_EQ(id({}), id(half));  // the same heads, however they were chosen
  EXPECT_EQ(id({}), "duo-8d12cd95f35cabd5") << "ids must be stable";
  PolicyOptions wider;
  wider.recent = 65;
  EXPECT_NE(id({}), id(wider));
  EXPECT_NE(id({}), id({}, {2, 2, 32}));
  PolicyOptions none;
  none.sparsity = 0.0;
  EXPECT_EQ(id(none), FullPolicy(kSmall).id);
}

TEST_F(PolicyBundleTest, SaysHowHeadCountsDiffer) {
  EXPECT_THAT(Complaint({}, {30, 3, 16}),
              HasSubstr("the pattern is for 2 layers of 2 kv heads, the model has 30 of 3"));
}

TEST_F(PolicyBundleTest, PolicyJsonIsStrictJson) {
  Write("policy.json", R"({"kind": "duo", "sinks": 16, "sinks": 32})");
  const absl::Status status = Load({}, kSmall).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("policy.json holds the key \"sinks\" twice"));
}

TEST_F(PolicyBundleTest, NamesTheBadKey) {
  const auto complaint = [&](const std::string& json) {
    Write("policy.json", json);
    return Complaint();
  };
  EXPECT_THAT(complaint("[]"), HasSubstr("policy.json: not a JSON object"));
  EXPECT_THAT(complaint("{}"), HasSubstr("kind is missing"));
  EXPECT_THAT(complaint(R"({"kind": "gate"})"), HasSubstr("key \"kind\""));
  EXPECT_THAT(complaint(R"({"kind": "duo", "sink": 3})"), HasSubstr("key \"sink\""));
  EXPECT_THAT(complaint(R"({"kind": "duo", "sinks": 1.5})"), HasSubstr("key \"sinks\""));
  EXPECT_THAT(complaint(R"({"kind": "duo", "sinks": -1})"), HasSubstr("sinks is not in"));
  EXPECT_THAT(complaint(R"({"kind": "duo", "recent": 0})"), HasSubstr("recent is not in"));
  EXPECT_THAT(complaint(R"({"kind": "duo", "sparsity": 1.5})"), HasSubstr("sparsity is not in"));
  EXPECT_THAT(complaint(R"({"kind": "duo", "threshold": 0.1, "sparsity": 0.5})"),
              HasSubstr("not both"));
}

TEST_F(PolicyBundleTest, ChecksFlags) {
  PolicyOptions options;
  options.sparsity = std::nan("");
  EXPECT_THAT(Complaint(options), HasSubstr("policy flags: sparsity"));
  options = {};
  options.recent = int64_t{1} << 40;
  EXPECT_THAT(Complaint(options), HasSubstr("policy flags: recent"));
}

TEST_F(PolicyBundleTest, SaysWhichFileIsMissing) {
  std::filesystem::remove(folder_.At("config.json"));
  EXPECT_EQ(Load().status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(Load().status().message()), HasSubstr("config.json"));
}

}  // namespace
}  // namespace headgate
