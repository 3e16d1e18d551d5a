#include "server/tokenizer/bpe_model.h"

#include "gtest/gtest.h"
#include "tests/unit/tokenizer/tokenizer_files.h"

namespace headgate {
namespace {

using Json = nlohmann::json;

struct Loaded {
  std::optional<BpeModel> model;
  Vocabulary vocabulary;
};

Json Abc() {
  return {{"type", "BPE"},
          {"vocab", {{"a", 0}, {"b", 1}, {"c", 2}, {"ab", 3}, {"bc", 4}, {"abc", 5}, {"?", 6}}},
          {"merges", {"a b", "b c", "ab c"}}};
}

absl::Status Load(const Json& model, Loaded* loaded,
                  const absl::flat_hash_set<TokenId>& reserved = {}) {
  const Json document = {{"model", model}};
  auto parsed = BpeModel::Parse(JsonNode(document, ""), BpeModel::Alphabet::kCharacters, reserved,
                                &loaded->vocabulary);
  if (!parsed.ok()) return parsed.status();
  loaded->model = *std::move(parsed);
  return absl::OkStatus();
}

std::vector<TokenId> Encode(const BpeModel& model, std::string_view word) {
  BpeScratch scratch;
  std::vector<TokenId> ids;
  model.Encode(word, &scratch, &ids);
  return ids;
}

using Ids = std::vector<TokenId>;

TEST(BpeModelTest, BestRankFirstThenLeftmost) {
  Loaded loaded;
  ASSERT_TRUE(Load(Abc(), &loaded).ok());
  EXPECT_EQ(Encode(*loaded.model, "abc"), Ids({5}));
  EXPECT_EQ(Encode(*loaded.model, "bcab"), Ids({4, 3}));
  EXPECT_EQ(Encode(*loaded.model, "aabb"), Ids({0, 3, 1}));
  EXPECT_EQ(Encode(*loaded.model, ""), Ids());
}

TEST(BpeModelTest, MergesAsPairsAreTheSame) {
  Json model = Abc();
  model["merges"] = Json::parse(R"([["a","b"],["b","c"],["ab","c"]])");
  Loaded loaded;
  ASSERT_TRUE(Load(model, &loaded).ok());
  EXPECT_EQ(Encode(*loaded.model, "abcbc"), Ids({5, 4}));
}

TEST(BpeModelTest, ReservedTokensAreNeverMade) {
  Loaded loaded;
  ASSERT_TRUE(Load(Abc(), &loaded, {5}).ok());
  EXPECT_EQ(Encode(*loaded.model, "abc"), Ids({3, 2}));
  Json model = Abc();
  model["ignore_merges"] = true;
  Loaded whole;
  ASSERT_TRUE(Load(model, &whole, {5}).ok());
  EXPECT_EQ(Encode(*whole.model, "abc"), Ids({3, 2}));
}

TEST(BpeModelTest, IgnoreMergesTakesWholeWords) {
  Json model = Abc();
  model["merges"] = Json::array();
  model["ignore_merges"] = true;
  Loaded loaded;
  ASSERT_TRUE(Load(model, &loaded).ok());
  EXPECT_EQ(Encode(*loaded.model, "abc"), Ids({5}));
  EXPECT_EQ(Encode(*loaded.model, "abca"), Ids({0, 1, 2, 0}));
}

TEST(BpeModelTest, UnknownCharacters) {
  Loaded dropped;
  ASSERT_TRUE(Load(Abc(), &dropped).ok());
  EXPECT_EQ(Encode(*dropped.model, "axxb"), Ids({3}));
  EXPECT_EQ(Encode(*dropped.model, "\u4f60"), Ids());
  Json model = Abc();
  model["unk_token"] = "?";
  Loaded unknown;
  ASSERT_TRUE(Load(model, &unknown).ok());
  EXPECT_EQ(Encode(*unknown.model, "axxb"), Ids({0, 6, 6, 1}));
  model["fuse_unk"] = true;
  Loaded fused;
  ASSERT_TRUE(Load(model, &fused).ok());
  EXPECT_EQ(Encode(*fused.model, "axxbx"), Ids({0, 6, 1, 6}));
}

struct BadModel {
  const char* change;  // JSON merge patch
  const char* message;
};

class BpeModelRefusalTest : public testing::TestWithParam<BadModel> {};

TEST_P(BpeModelRefusalTest, NamesTheKey) {
  Json model = Abc();
  model.merge_patch(Json::parse(GetParam().change));
  Loaded loaded;
  const absl::Status status = Load(model, &loaded);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(std::string(status.message()).find(GetParam().message), std::string::npos) << status;
}

INSTANTIATE_TEST_SUITE_P(
    All, BpeModelRefusalTest,
    testing::Values(
        BadModel{R"({"type":"Unigram"})", "model.type \"Unigram\" is not supported"},
        BadModel{R"({"type":7})", "model.type must be a string"},
        BadModel{R"({"vocab":null})", "model.vocab is missing"},
        BadModel{R"({"vocab":[]})", "model.vocab must be an object"},
        BadModel{R"({"vocab":{"a":"x"}})", "model.vocab [\"a\"] must be an integer"},
        BadModel{R"({"vocab":{"a":-1}})", "model.vocab [\"a\"] has id -1"},
        BadModel{R"({"vocab":{"a":1e300}})", "model.vocab [\"a\"] must be an integer"},
        BadModel{R"({"vocab":{"a":9223372036854775807}})", "not in [0,"},
        BadModel{R"({"merges":["a b","b"]})", "model.merges [1] must be"},
        BadModel{R"({"merges":["a  b"]})", "model.merges [0] must be"},
        BadModel{R"({"merges":[["a"]]})", "model.merges [0] must be"},
        BadModel{R"({"merges":["c a"]})", "model.merges [0] joins or makes a token"},
        BadModel{R"({"dropout":0.1})", "model.dropout is not supported"},
        BadModel{R"({"end_of_word_suffix":"</w>"})", "model.end_of_word_suffix is not supported"},
        BadModel{R"({"byte_fallback":true})", "model.vocab lacks <0x00>"},
        BadModel{R"({"byte_fallback":"yes"})", "model.byte_fallback must be true or false"},
        BadModel{R"({"unk_token":"<unk>"})", "model.unk_token is not in model.vocab"}));

// Twice the text must not be more than three times the work: n log n, not n^2.
TEST(BpeModelTest, WorkGrowsAlmostLinearly) {
  const std::string document = ReadAll(DataDir() + "gpt-2/tokenizer.json");
  const Json root = Json::parse(document);
  Vocabulary vocabulary;
  const auto model =
      BpeModel::Parse(JsonNode(root, ""), BpeModel::Alphabet::kBytes, {}, &vocabulary);
  ASSERT_TRUE(model.ok()) << model.status();
  for (const std::string unit : {".", "ab", "abcdefgh", "the", "=-", "aaab"}) {
    std::vector<int64_t> steps;
    for (const size_t size : {size_t{1} << 16, size_t{1} << 17, size_t{1} << 18}) {
      std::string word;
      while (word.size() < size) word += unit;
      BpeScratch scratch;
      std::vector<TokenId> ids;
      model->Encode(word, &scratch, &ids);
      EXPECT_LE(scratch.steps, static_cast<int64_t>(3 * word.size())) << unit;
      steps.push_back(scratch.steps);
    }
    EXPECT_GT(steps[0], 0) << unit;
    EXPECT_LE(steps[1], 3 * steps[0]) << unit;
    EXPECT_LE(steps[2], 3 * steps[1]) << unit;
  }
}

}  // namespace
}  // namespace headgate
