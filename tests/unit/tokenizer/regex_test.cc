#include "server/tokenizer/regex.h"

#include <vector>

#include "gtest/gtest.h"

namespace headgate {
namespace {

std::vector<std::string> Matches(const Regex& regex, std::string_view text) {
  std::vector<std::string> found;
  Regex::Cursor cursor(regex, text);
  while (true) {
    const auto span = cursor.Next();
    EXPECT_TRUE(span.ok()) << span.status();
    if (!span.ok() || !*span) return found;
    found.emplace_back(text.substr((*span)->begin, (*span)->end - (*span)->begin));
  }
}

using Strings = std::vector<std::string>;

TEST(RegexTest, SpellsOutWhiteSpaceInAndOutOfClasses) {
  const auto outside = Regex::Compile(R"(\s+)");
  ASSERT_TRUE(outside.ok()) << outside.status();
  EXPECT_EQ(Matches(*outside, "a \u0085\u3000b\u180e\u200bc"), Strings({" \u0085\u3000"}));
  const auto inside = Regex::Compile(R"([^\s\p{L}]+)");
  ASSERT_TRUE(inside.ok()) << inside.status();
  EXPECT_EQ(Matches(*inside, "ab12 \u3000\u180e!"), Strings({"12", "\u180e!"}));
  const auto negated = Regex::Compile(R"(\S+)");
  ASSERT_TRUE(negated.ok()) << negated.status();
  EXPECT_EQ(Matches(*negated, "a\u180eb c"), Strings({"a\u180eb", "c"}));
  EXPECT_EQ(SpellOutWhiteSpace(R"(\\s\p{L}[\]x])"), R"(\\s\p{L}[\]x])");
}

TEST(RegexTest, LiteralHasNoMagic) {
  const auto regex = Regex::Literal("a.b\\s");
  ASSERT_TRUE(regex.ok()) << regex.status();
  EXPECT_EQ(Matches(*regex, "axb a.b\\s"), Strings({"a.b\\s"}));
  EXPECT_FALSE(Regex::Literal("").ok());
}

TEST(RegexTest, EmptyMatchesAreSteppedOver) {
  const auto regex = Regex::Compile("x*");
  ASSERT_TRUE(regex.ok()) << regex.status();
  EXPECT_EQ(Matches(*regex, "\u00e9xx\u4f60x"), Strings({"xx", "x"}));
}

TEST(RegexTest, BadPatternsAreRefused) {
  const auto regex = Regex::Compile("(a");
  ASSERT_FALSE(regex.ok());
  EXPECT_EQ(regex.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(Regex::Compile("\\C").ok());  // would cut characters apart
}

TEST(RegexTest, CatastrophicPatternHitsTheLimit) {
  const auto regex = Regex::Compile("(a+)+$");
  ASSERT_TRUE(regex.ok()) << regex.status();
  const std::string text = std::string(64, 'a') + "b";
  Regex::Cursor cursor(*regex, text);
  const auto span = cursor.Next();
  ASSERT_FALSE(span.ok());
  EXPECT_EQ(span.status().code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace headgate
