#include "server/tokenizer/incremental_detokenizer.h"

#include "absl/strings/str_format.h"
#include "gtest/gtest.h"
#include "tests/unit/tokenizer/random_text.h"
#include "tests/unit/tokenizer/tokenizer_files.h"

namespace headgate {
namespace {

using Ids = std::vector<TokenId>;

// One token for each byte of `bytes`.
Ids ByteTokens(const Tokenizer& tokenizer, std::string_view bytes) {
  Ids ids;
  for (const char c : bytes) {
    ids.push_back(*tokenizer.IdOf(absl::StrFormat("<0x%02X>", static_cast<uint8_t>(c))));
  }
  return ids;
}

TEST(IncrementalDetokenizerTest, HoldsBackHalfACharacter) {
  const auto tokenizer = LoadTokenizer("stories260k");
  IncrementalDetokenizer stream(*tokenizer, {});
  const Ids ids = ByteTokens(*tokenizer, "\u4f60\xE5\xA5");
  EXPECT_EQ(stream.Push(ids[0]), "");
  EXPECT_EQ(stream.Push(ids[1]), "");
  EXPECT_EQ(stream.Push(ids[2]), "\u4f60");
  EXPECT_EQ(stream.Push(ids[3]), "");
  EXPECT_EQ(stream.Push(ids[4]), "");
  EXPECT_EQ(stream.Finish(), "\uFFFD");
  EXPECT_EQ(stream.Finish(), "");
}

TEST(IncrementalDetokenizerTest, BrokenBytesShowAtOnce) {
  const auto tokenizer = LoadTokenizer("stories260k");
  IncrementalDetokenizer stream(*tokenizer, {});
  EXPECT_EQ(stream.Push(ByteTokens(*tokenizer, "\xFF")[0]), "\uFFFD");
  EXPECT_EQ(stream.Push(ByteTokens(*tokenizer, "\xE4")[0]), "");
  EXPECT_EQ(stream.Push(*tokenizer->IdOf("\u2581Once")), "\uFFFD Once");
}

TEST(IncrementalDetokenizerTest, SpecialTokensGiveNoTextUnlessAskedFor) {
  const auto tokenizer = LoadTokenizer("stories260k");
  const TokenId bos = *tokenizer->IdOf("<s>");
  const Ids ids = ByteTokens(*tokenizer, "\u00e9");
  IncrementalDetokenizer quiet(*tokenizer, {});
  EXPECT_EQ(quiet.Push(bos), "");
  EXPECT_EQ(quiet.Push(ids[0]), "");
  EXPECT_EQ(quiet.Push(bos), "");  // does not break the character around it
  EXPECT_EQ(quiet.Push(ids[1]), "\u00e9");
  IncrementalDetokenizer loud(*tokenizer, {.skip_special = false});
  EXPECT_EQ(loud.Push(bos), "<s>");
}

TEST(IncrementalDetokenizerTest, LeadingSpaceIsDroppedOnceAtTheStartOnly) {
  const auto tokenizer = LoadTokenizer("stories260k");
  const TokenId once = *tokenizer->IdOf("\u2581Once");
  const TokenId space = *tokenizer->IdOf("\u2581");
  IncrementalDetokenizer start(*tokenizer, {});
  EXPECT_EQ(start.Push(space), "");
  EXPECT_EQ(start.Push(once), " Once");
  IncrementalDetokenizer middle(*tokenizer, {.at_text_start = false});
  EXPECT_EQ(middle.Push(once), " Once");
  const auto gpt2 = LoadTokenizer("gpt-2");
  IncrementalDetokenizer bytes(*gpt2, {});
  EXPECT_EQ(bytes.Push(*gpt2->IdOf("\u0120the")), " the");
}

TEST(IncrementalDetokenizerTest, IdsThatAreNoTokensGiveNothing) {
  const auto tokenizer = LoadTokenizer("stories260k");
  IncrementalDetokenizer stream(*tokenizer, {});
  EXPECT_EQ(stream.Push(-1), "");
  EXPECT_EQ(stream.Push(512), "");
  EXPECT_EQ(stream.Push(2147483647), "");
  EXPECT_EQ(stream.Finish(), "");
}

class RandomStreamTest : public testing::TestWithParam<const char*> {};

// Random tokens make random bytes: each piece is valid, and the pieces are the whole, repaired.
TEST_P(RandomStreamTest, PiecesAreValidAndJoinToTheWhole) {
  const auto tokenizer = LoadTokenizer(GetParam());
  RandomText random(3);
  for (int round = 0; round < 2000; ++round) {
    Ids ids;
    std::string bytes;
    for (int64_t n = random.Below(20); n > 0; --n) {
      // Mostly single bytes (the low ids of both vocabularies), to break characters apart.
      const TokenId id = random.Below(3) > 0
                             ? static_cast<TokenId>(3 + random.Below(256))
                             : static_cast<TokenId>(random.Below(tokenizer->vocab_size()));
      ids.push_back(id);
      if (!tokenizer->IsSpecial(id)) bytes += tokenizer->TokenBytes(id);
    }
    Utf8Repair repair;
    std::string expected;
    repair.Push(bytes, &expected);
    repair.Finish(&expected);
    IncrementalDetokenizer stream(*tokenizer, {.at_text_start = false});
    std::string joined;
    for (const TokenId id : ids) {
      const std::string piece = stream.Push(id);
      ASSERT_EQ(FirstInvalidUtf8(piece), std::string_view::npos);
      joined += piece;
    }
    joined += stream.Finish();
    ASSERT_EQ(joined, expected);
    ASSERT_EQ(Decode(*tokenizer, ids, {.at_text_start = false}), expected);
  }
}

TEST_P(RandomStreamTest, DecodeUndoesEncode) {
  const auto tokenizer = LoadTokenizer(GetParam());
  RandomText random(4);
  for (int round = 0; round < 2000; ++round) {
    const std::string text = random.Utf8(30);
    ASSERT_EQ(Decode(*tokenizer, EncodeBare(*tokenizer, text), {}), text);
  }
}

TEST_P(RandomStreamTest, RandomBytesAreTokenizedOrRefused) {
  const auto tokenizer = LoadTokenizer(GetParam());
  RandomText random(6);
  for (int round = 0; round < 2000; ++round) {
    const std::string bytes = random.Utf8(4) + random.Bytes(8);
    const auto ids = tokenizer->Encode(bytes, kBare);
    if (FirstInvalidUtf8(bytes) == std::string_view::npos) {
      ASSERT_TRUE(ids.ok()) << ids.status();
      ASSERT_EQ(Decode(*tokenizer, *ids, {}), bytes);
    } else {
      ASSERT_EQ(ids.status().code(), absl::StatusCode::kInvalidArgument);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, RandomStreamTest, testing::Values("gpt-2", "stories260k"),
                         [](const auto& param_info) {
                           return std::string(param_info.param) == "gpt-2" ? "gpt_2"
                                                                           : "stories260k";
                         });

}  // namespace
}  // namespace headgate
