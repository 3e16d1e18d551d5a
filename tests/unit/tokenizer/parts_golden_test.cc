// Pre-tokenizers and normalizers, each alone, against the answers of the PyPI package `tokenizers`.
#include "gtest/gtest.h"
#include "server/tokenizer/byte_alphabet.h"
#include "server/tokenizer/normalizer.h"
#include "server/tokenizer/pre_tokenizer.h"
#include "tests/unit/tokenizer/tokenizer_files.h"

namespace headgate {
namespace {

TEST(PartsGoldenTest, PreTokenizersCutAlike) {
  const nlohmann::json golden = ReadJson(DataDir() + "parts.golden.json");
  ASSERT_GE(golden["pre_tokenizers"].size(), 300u);
  for (const auto& row : golden["pre_tokenizers"]) {
    const nlohmann::json document = {{"pre_tokenizer", row["part"]}};
    const auto pre_tokenizer = PreTokenizer::Parse(JsonNode(document, ""));
    ASSERT_TRUE(pre_tokenizer.ok()) << pre_tokenizer.status();
    const std::string text = row["text"];
    std::vector<std::string> words;
    const auto status = pre_tokenizer->Cut(
        text, /*at_start=*/true, [&](std::string_view word) { words.emplace_back(word); });
    ASSERT_TRUE(status.ok()) << status;
    if (pre_tokenizer->byte_level()) {
      for (std::string& word : words) word = ToByteAlphabet(word);
    }
    EXPECT_EQ(words, row["words"].get<std::vector<std::string>>()) << row;
  }
}

TEST(PartsGoldenTest, NormalizersRewriteAlike) {
  const nlohmann::json golden = ReadJson(DataDir() + "parts.golden.json");
  ASSERT_GE(golden["normalizers"].size(), 30u);
  for (const auto& row : golden["normalizers"]) {
    const nlohmann::json document = {{"normalizer", row["part"]}};
    const auto normalizer = Normalizer::Parse(JsonNode(document, ""));
    ASSERT_TRUE(normalizer.ok()) << normalizer.status();
    const auto result = normalizer->Apply(row["text"].get<std::string>());
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(*result, row["result"].get<std::string>()) << row;
  }
}

}  // namespace
}  // namespace headgate
