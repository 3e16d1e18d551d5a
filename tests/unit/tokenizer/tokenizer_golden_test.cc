// Every tokenizer against the answers of the PyPI package `tokenizers`
// (tools/make_tokenizer_vectors), and against the llama.cpp vectors.
#include <algorithm>
#include <initializer_list>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/tokenizer/incremental_detokenizer.h"
#include "server/tokenizer/tokenizer.h"
#include "tests/unit/tokenizer/random_text.h"
#include "tests/unit/tokenizer/tokenizer_files.h"

namespace headgate {
namespace {

class GoldenTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (TokenizerDir(GetParam()).empty()) {
      GTEST_SKIP() << "no tokenizer.json of " << GetParam() << ": make it with "
                   << "tools/make_tokenizer_vectors/make.py tokenizers --shared DIR";
    }
    tokenizer_ = LoadTokenizer(GetParam());
    ASSERT_NE(tokenizer_, nullptr);
    rows_ = ReadJson(DataDir() + GetParam() + ".golden.json");
    ASSERT_GE(rows_.size(), 200u);
  }

  std::unique_ptr<Tokenizer> tokenizer_;
  nlohmann::json rows_;
};

TEST_P(GoldenTest, UserTextHasNoControlTokens) {
  for (const auto& row : rows_) {
    const std::string text = row["text"];
    EXPECT_EQ(EncodeBare(*tokenizer_, text), row["plain"].get<std::vector<TokenId>>()) << text;
  }
}

TEST_P(GoldenTest, TemplateTextHasControlTokens) {
  for (const auto& row : rows_) {
    const std::string text = row["text"];
    const TextPiece piece{text, /*parse_special=*/true};
    const auto ids = tokenizer_->Encode({&piece, 1}, EncodeOptions{});
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, row["special"].get<std::vector<TokenId>>()) << text;
  }
}

TEST_P(GoldenTest, DecodesLikeTheOracle) {
  for (const auto& row : rows_) {
    const std::string expected = row.value("decoded", row["text"].get<std::string>());
    EXPECT_EQ(Decode(*tokenizer_, row["plain"].get<std::vector<TokenId>>(), {}), expected);
  }
}

TEST_P(GoldenTest, PiecesAreTokenizedAsOneText) {
  RandomText random(5);
  for (const auto& row : rows_) {
    const std::string text = row["text"];
    std::vector<TextPiece> pieces;
    for (size_t at = 0; at < text.size();) {
      size_t end = at;
      for (int64_t n = 1 + random.Below(4); n > 0 && end < text.size(); --n) {
        end += Utf8CharacterSize(text, end);
      }
      pieces.push_back({std::string_view(text).substr(at, end - at), false});
      at = end;
    }
    const auto ids = tokenizer_->Encode(pieces, kBare);
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, row["plain"].get<std::vector<TokenId>>()) << text;

    // Without anything that looks like a control token, it does not matter where one is allowed.
    if (row["plain"].size() + 1 < row["special"].size() || text.find('<') != std::string::npos) {
      continue;
    }
    for (TextPiece& piece : pieces) piece.parse_special = random.Below(2) == 0;
    EXPECT_EQ(*tokenizer_->Encode(pieces, kBare), *ids) << text;
  }
}

// A long text of one kind must neither be quadratic (the test's time limit) nor fail.
TEST_P(GoldenTest, TakesHostileText) {
  constexpr int64_t kBytes = 1 << 20;
  std::string word, marks, lines;
  while (word.size() < kBytes) word += "ab";
  while (marks.size() < kBytes) marks += "\u0301\u0323";
  while (lines.size() < kBytes) lines += " \n";
  const std::string dots(1000000, '.'), spaces = std::string(kBytes, ' ') + "x", opens(kBytes, '<'),
                                        digits(kBytes, '7');
  for (const std::string_view text :
       std::initializer_list<std::string_view>{dots, word, spaces, marks, lines, opens, digits}) {
    const TextPiece piece{text, true};
    const auto ids = tokenizer_->Encode({&piece, 1}, kBare);
    ASSERT_TRUE(ids.ok()) << ids.status() << " for " << text.substr(0, 4);
    EXPECT_GT(ids->size(), 0u);
    EXPECT_LE(ids->size(), text.size() + 4);
  }
}

INSTANTIATE_TEST_SUITE_P(All, GoldenTest,
                         testing::Values("gpt-2", "stories260k", "stories260k-added",
                                         "stories260k-metaspace", "starcoder", "llama-spm", "qwen2",
                                         "smollm2", "llama-bpe"),
                         [](const auto& param_info) {
                           std::string name = param_info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

class LlamaCppVectorTest : public testing::TestWithParam<const char*> {};

TEST_P(LlamaCppVectorTest, AllIdsAgree) {
  const std::string name = GetParam();
  if (TokenizerDir(name).empty()) {
    GTEST_SKIP() << "no tokenizer.json of " << name << ": make it with "
                 << "tools/make_tokenizer_vectors/make.py tokenizers --shared DIR";
  }
  const auto tokenizer = LoadTokenizer(name);
  std::vector<std::string> texts =
      absl::StrSplit(ReadAll(DataDir() + "ggml-vocab-common.inp"), "\n__ggml_vocab_test__\n");
  texts.pop_back();  // the file ends with a separator
  ASSERT_EQ(texts.size(), 46u);
  std::istringstream answers(ReadAll(DataDir() + "ggml-vocab-" + name + ".gguf.out"));
  for (const std::string& text : texts) {
    std::string line;
    ASSERT_TRUE(std::getline(answers, line));
    std::istringstream numbers(line);
    const std::vector<TokenId> expected{std::istream_iterator<TokenId>(numbers), {}};
    EXPECT_EQ(EncodeBare(*tokenizer, text), expected) << text;
  }
}

INSTANTIATE_TEST_SUITE_P(All, LlamaCppVectorTest,
                         testing::Values("gpt-2", "starcoder", "llama-bpe"),
                         [](const auto& param_info) {
                           std::string name = param_info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(StoriesGoldenTest, DecodesTheModelsOwnStory) {
  const auto tokenizer = LoadTokenizer("stories260k");
  ASSERT_NE(tokenizer, nullptr);
  // The first ids that the model generates behind BOS: "Once upon a time, there was a little girl".
  const std::vector<TokenId> ids = {1, 403, 407, 261, 378, 432, 383, 286, 261, 376, 298, 315};
  EXPECT_EQ(Decode(*tokenizer, ids, {}).substr(0, 27), "Once upon a time, there was");
  EXPECT_EQ(Decode(*tokenizer, ids, {.at_text_start = false}).substr(0, 5), " Once");
  EXPECT_EQ(Decode(*tokenizer, ids, {.skip_special = false}).substr(0, 8), "<s> Once");
}

}  // namespace
}  // namespace headgate
