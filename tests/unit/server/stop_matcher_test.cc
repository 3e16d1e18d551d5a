// Stop strings: the output must not depend on how the text was cut into pieces.
#include "server/stop_matcher.h"

#include <gtest/gtest.h>

#include <random>

namespace headgate {
namespace {

std::string RunPieces(const std::vector<std::string>& stops, const std::vector<std::string>& pieces,
                      bool* matched) {
  StopMatcher matcher(stops);
  std::string out;
  for (const std::string& piece : pieces) out += matcher.Push(piece);
  *matched = matcher.matched();
  if (!*matched) out += matcher.Finish();
  return out;
}

TEST(StopMatcher, FindsAStringAcrossPieces) {
  bool matched = false;
  EXPECT_EQ(RunPieces({"STOP"}, {"one S", "T", "O", "P two"}, &matched), "one ");
  EXPECT_TRUE(matched);
}

TEST(StopMatcher, HoldsBackOnlyWhatMayStillMatch) {
  StopMatcher matcher({"STOP"});
  EXPECT_EQ(matcher.Push("abc ST"), "abc ");
  EXPECT_EQ(matcher.Push("x"), "STx");
  EXPECT_EQ(matcher.Push("SSTO"), "S");
  EXPECT_EQ(matcher.Finish(), "STO");
  EXPECT_FALSE(matcher.matched());
}

TEST(StopMatcher, NothingFollowsAMatch) {
  StopMatcher matcher({"\n"});
  EXPECT_EQ(matcher.Push("a\nb"), "a");
  EXPECT_EQ(matcher.Push("c"), "");
}

TEST(StopMatcher, TheStringThatEndsFirstWins) {
  bool matched = false;
  EXPECT_EQ(RunPieces({"bcd", "c"}, {"abcd"}, &matched), "ab");
  EXPECT_EQ(RunPieces({"abc", "bc"}, {"xabc"}, &matched), "x");
}

TEST(StopMatcher, CuttingDoesNotMatter) {
  std::mt19937 random(7);
  int matches = 0;
  for (int round = 0; round < 3000; ++round) {
    const auto text_of = [&](size_t size) {
      std::string text;
      for (size_t i = 0; i < size; ++i) text += static_cast<char>('a' + random() % 2);
      return text;
    };
    const std::vector<std::string> stops = {text_of(random() % 5 + 3), text_of(random() % 4 + 2)};
    const std::string text = text_of(random() % 40);
    std::vector<std::string> bytes;
    std::vector<std::string> pieces;
    for (char c : text) bytes.emplace_back(1, c);
    for (size_t at = 0; at < text.size();) {
      const size_t size = random() % 6 + 1;
      pieces.push_back(text.substr(at, size));
      at += size;
    }
    bool matched_bytes = false;
    bool matched_pieces = false;
    const std::string expected = RunPieces(stops, bytes, &matched_bytes);
    EXPECT_EQ(RunPieces(stops, pieces, &matched_pieces), expected);
    EXPECT_EQ(matched_pieces, matched_bytes);
    for (const std::string& stop : stops) EXPECT_EQ(expected.find(stop), std::string::npos);
    matches += matched_bytes ? 1 : 0;
  }
  EXPECT_GT(matches, 500);
}

}  // namespace
}  // namespace headgate
