// Loading (what is refused, and how it is said) and what Encode promises to its callers.
#include "server/tokenizer/tokenizer.h"

#include <thread>

#include "gtest/gtest.h"
#include "server/tokenizer/incremental_detokenizer.h"
#include "tests/unit/tokenizer/tokenizer_files.h"

namespace headgate {
namespace {

using Ids = std::vector<TokenId>;
using Json = nlohmann::json;

Ids EncodePieces(const Tokenizer& tokenizer, const std::vector<TextPiece>& pieces) {
  const auto ids = tokenizer.Encode(pieces, kBare);
  EXPECT_TRUE(ids.ok()) << ids.status();
  return ids.ok() ? *ids : Ids();
}

TEST(TokenizerTest, LoadNamesTheFile) {
  const auto missing = Tokenizer::Load("/nowhere");
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  EXPECT_NE(std::string(missing.status().message()).find("/nowhere/tokenizer.json: "),
            std::string::npos);
}

TEST(TokenizerTest, KnowsItsTokens) {
  const auto tokenizer = LoadTokenizer("gpt-2");
  EXPECT_EQ(tokenizer->vocab_size(), 50257);
  EXPECT_EQ(tokenizer->IdOf("<|endoftext|>"), 50256);
  EXPECT_EQ(tokenizer->IdOf("no such token"), std::nullopt);
  EXPECT_TRUE(tokenizer->IsSpecial(50256));
  EXPECT_FALSE(tokenizer->IsSpecial(0));
  EXPECT_FALSE(tokenizer->IsSpecial(-1));
  EXPECT_EQ(tokenizer->TokenBytes(*tokenizer->IdOf("\u0120the")), " the");
  EXPECT_EQ(tokenizer->TokenBytes(50256), "<|endoftext|>");
  EXPECT_EQ(tokenizer->TokenBytes(50257), "");
  EXPECT_EQ(tokenizer->TokenBytes(-1), "");
}

TEST(TokenizerTest, AddSpecialPutsBosInFront) {
  const auto tokenizer = LoadTokenizer("stories260k");
  const auto with = tokenizer->Encode("Once", EncodeOptions{});
  ASSERT_TRUE(with.ok());
  EXPECT_EQ(*with, Ids({1, 403}));
  EXPECT_EQ(EncodeBare(*tokenizer, "Once"), Ids({403}));
  EXPECT_EQ(*tokenizer->Encode("", EncodeOptions{}), Ids({1}));
  EXPECT_EQ(EncodeBare(*tokenizer, ""), Ids());
}

TEST(TokenizerTest, UserTextNeverMakesControlTokens) {
  for (const char* name : {"gpt-2", "stories260k", "stories260k-added", "stories260k-metaspace"}) {
    const auto tokenizer = LoadTokenizer(name);
    for (TokenId id = 0; id < tokenizer->vocab_size(); ++id) {
      if (!tokenizer->IsSpecial(id)) continue;
      const std::string token(tokenizer->TokenBytes(id));
      for (const std::string& text : {token, " " + token + " ", "a" + token + token + "b"}) {
        for (const TokenId got : EncodeBare(*tokenizer, text)) {
          EXPECT_FALSE(tokenizer->IsSpecial(got)) << name << " " << token;
        }
      }
    }
  }
}

TEST(TokenizerTest, OnlyTemplatePiecesHoldControlTokens) {
  const auto tokenizer = LoadTokenizer("gpt-2");
  const TokenId end = 50256;
  const Ids plain = EncodeBare(*tokenizer, "<|endoftext|>");
  ASSERT_GT(plain.size(), 1u);
  EXPECT_EQ(EncodePieces(*tokenizer, {{"<|endoftext|>", true}}), Ids({end}));
  EXPECT_EQ(EncodePieces(*tokenizer, {{"<|endoftext|>", false}}), plain);
  // In two template pieces side by side: found. Reaching into the user's piece: not found.
  EXPECT_EQ(EncodePieces(*tokenizer, {{"<|end", true}, {"", false}, {"oftext|>", true}}),
            Ids({end}));
  EXPECT_EQ(EncodePieces(*tokenizer, {{"<|end", true}, {"oftext|>", false}}), plain);
  EXPECT_EQ(EncodePieces(*tokenizer, {{"<|endoftext|", false}, {">", true}}), plain);
  Ids both = {end};
  both.insert(both.end(), plain.begin(), plain.end());
  both.push_back(end);
  EXPECT_EQ(
      EncodePieces(*tokenizer,
                   {{"<|endoftext|>", true}, {"<|endoftext|>", false}, {"<|endoftext|>", true}}),
      both);
}

TEST(TokenizerTest, RefusesWhatIsNoTextOrTooLong) {
  const auto tokenizer = LoadTokenizer("gpt-2");
  const auto broken = tokenizer->Encode("ab\xFFyz", kBare);
  EXPECT_EQ(broken.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(broken.status().message(), "text is not valid UTF-8 at byte 2");
  // Each piece must be text by itself.
  const std::vector<TextPiece> halves = {{"x\xC3", false}, {"\xA9", false}};
  EXPECT_EQ(tokenizer->Encode(halves, kBare).status().code(), absl::StatusCode::kInvalidArgument);

  const EncodeOptions four{.add_special = false, .max_bytes = 4};
  EXPECT_TRUE(tokenizer->Encode("abcd", four).ok());
  EXPECT_EQ(tokenizer->Encode("abcde", four).status().code(), absl::StatusCode::kInvalidArgument);
  const std::vector<TextPiece> pieces = {{"abc", false}, {"de", true}};
  EXPECT_EQ(tokenizer->Encode(pieces, four).status().message(),
            "text is longer than the limit of 4 bytes");
}

TEST(TokenizerTest, ThreadsMayShareOne) {
  const auto tokenizer = LoadTokenizer("gpt-2");
  const std::string text = "It's 12 o'clock, \u4f60\u597d \U0001f600 <|endoftext|>\n\n done";
  const Ids expected = EncodeBare(*tokenizer, text);
  std::vector<std::thread> threads;
  std::array<bool, 4> same{};
  for (size_t i = 0; i < same.size(); ++i) {
    threads.emplace_back([&, i] {
      same[i] = true;
      for (int round = 0; round < 200; ++round) {
        const auto ids = tokenizer->Encode(text, kBare);
        same[i] = same[i] && ids.ok() && *ids == expected && Decode(*tokenizer, *ids, {}) == text;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const bool ok : same) EXPECT_TRUE(ok);
}

Json Document() {
  return Json::parse(R"({
    "added_tokens": [{"id": 3, "content": "<end>", "special": true}],
    "normalizer": null,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
    "post_processor": null,
    "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}
  })");
}

struct Refused {
  const char* change;  // JSON merge patch
  const char* message;
};

class TokenizerRefusalTest : public testing::TestWithParam<Refused> {};

TEST_P(TokenizerRefusalTest, NamesTheKey) {
  Json document = Document();
  ASSERT_TRUE(Tokenizer::Parse(document.dump()).ok());
  document.merge_patch(Json::parse(GetParam().change));
  const auto tokenizer = Tokenizer::Parse(document.dump());
  ASSERT_FALSE(tokenizer.ok());
  EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kInvalidArgument);
  const std::string message(tokenizer.status().message());
  EXPECT_EQ(message.find("tokenizer.json: "), 0u) << message;
  EXPECT_NE(message.find(GetParam().message), std::string::npos) << message;
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
}

INSTANTIATE_TEST_SUITE_P(
    All, TokenizerRefusalTest,
    testing::Values(
        Refused{R"({"model":null})", "model is missing"},
        Refused{R"({"model":[1]})", "model must be an object"},
        Refused{R"({"normalizer":{"type":"NFKC"}})", "normalizer.type \"NFKC\" is not supported"},
        Refused{R"({"normalizer":{"type":"Sequence","normalizers":[{"type":"Lowercase"}]}})",
                "normalizer.normalizers[0].type \"Lowercase\" is not supported"},
        Refused{R"({"normalizer":{"type":"Replace","pattern":{"Regex":"("},"content":""}})",
                "normalizer.pattern.Regex regex cannot be compiled"},
        Refused{R"({"normalizer":7})", "normalizer must be an object"},
        Refused{R"({"pre_tokenizer":{"type":"Whitespace"}})",
                "pre_tokenizer.type \"Whitespace\" is not supported"},
        Refused{R"({"pre_tokenizer":{"type":"Split","pattern":{"String":"-"},"behavior":"Odd"}})",
                "pre_tokenizer.behavior \"Odd\" is not supported"},
        Refused{R"({"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"ByteLevel"},
                   {"type":"Digits"}]}})",
                "pre_tokenizer.pretokenizers[1] comes after ByteLevel"},
        Refused{R"({"post_processor":{"type":"RobertaProcessing"}})",
                "post_processor.type \"RobertaProcessing\" is not supported"},
        Refused{R"({"post_processor":{"type":"TemplateProcessing","single":[],
                   "special_tokens":{}}})",
                "post_processor.single must hold a Sequence"},
        Refused{R"({"post_processor":{"type":"TemplateProcessing","single":[
                   {"SpecialToken":{"id":"x","type_id":0}},{"Sequence":{"id":"A"}}],
                   "special_tokens":{}}})",
                "post_processor.special_tokens.x is missing"},
        Refused{R"({"post_processor":{"type":"TemplateProcessing","single":[
                   {"SpecialToken":{"id":"x","type_id":0}},{"Sequence":{"id":"A"}}],
                   "special_tokens":{"x":{"ids":[77]}}}})",
                "adds the id 77, which is no token"},
        Refused{R"({"decoder":null})", "decoder is missing"},
        Refused{R"({"decoder":{"type":"WordPiece"}})",
                "decoder.type \"WordPiece\" is not supported"},
        Refused{R"({"decoder":{"type":"Strip","content":" ","start":1,"stop":0}})",
                "decoder before Fuse is not supported"},
        Refused{R"({"added_tokens":[{"id":3,"content":""}]})", "added_tokens[0].content must have"},
        Refused{R"({"added_tokens":[{"id":3,"content":"x","single_word":true}]})",
                "added_tokens[0].single_word true is not supported"},
        Refused{R"({"added_tokens":[{"id":-3,"content":"x"}]})", "added_tokens[0].id"},
        Refused{R"({"added_tokens":[{"id":7,"content":"ab"}]})",
                "added_tokens[0]: has id 7, but the same token has id 2"}));

TEST(TokenizerTest, RefusesWhatIsNoJson) {
  for (const char* text : {"", "{", "[1", "\xFF", "nul"}) {
    const auto tokenizer = Tokenizer::Parse(text);
    EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kDataLoss) << text;
    EXPECT_EQ(tokenizer.status().message().rfind("tokenizer.json is not ", 0), 0u) << text;
  }
  EXPECT_FALSE(Tokenizer::Parse("[]").ok());
  EXPECT_FALSE(Tokenizer::Parse(std::string(100000, '[')).ok());
}

TEST(TokenizerTest, RefusesAKeyThatComesTwice) {
  const auto tokenizer = Tokenizer::Parse(R"({"model":{"vocab":{"a":0,"b":1,"a":2}}})");
  EXPECT_EQ(tokenizer.status().message(), "tokenizer.json holds the key \"a\" twice in one object");
}

}  // namespace
}  // namespace headgate
