#include "base/utf8.h"

#include "gtest/gtest.h"
#include "tests/unit/tokenizer/random_text.h"

namespace headgate {
namespace {

std::string Repair(std::string_view bytes) {
  Utf8Repair repair;
  std::string out;
  repair.Push(bytes, &out);
  repair.Finish(&out);
  return out;
}

TEST(Utf8Test, FindsTheFirstInvalidByte) {
  const size_t valid = std::string_view::npos;
  EXPECT_EQ(FirstInvalidUtf8(""), valid);
  EXPECT_EQ(FirstInvalidUtf8("a\u00e9\u4f60\U0001f600\U0010ffff"), valid);
  EXPECT_EQ(FirstInvalidUtf8("ab\x80"), 2u);
  EXPECT_EQ(FirstInvalidUtf8("\xC0\xAF"), 0u);          // overlong
  EXPECT_EQ(FirstInvalidUtf8("a\xE0\x80\x80"), 1u);     // overlong
  EXPECT_EQ(FirstInvalidUtf8("\xED\xA0\x80"), 0u);      // surrogate
  EXPECT_EQ(FirstInvalidUtf8("\xF4\x90\x80\x80"), 0u);  // above U+10FFFF
  EXPECT_EQ(FirstInvalidUtf8("\u00e9\xE4\xBD"), 2u);    // cut off
  EXPECT_EQ(FirstInvalidUtf8(std::string_view("\0", 1)), valid);
}

TEST(Utf8Test, KnowsTheBoundaries) {
  for (const char* good : {"", "a", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf",
                           "\xee\x80\x80", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_EQ(FirstInvalidUtf8(good), std::string_view::npos);
  }
  for (const char* bad :
       {"\x80", "\xc1\xbf", "\xc2", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xe1\x80", "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xc2\x41", "\xe1\x80\x41"}) {
    EXPECT_EQ(FirstInvalidUtf8(std::string("ok") + bad), 2u);
  }
}

TEST(Utf8Test, WritesWhatItReads) {
  for (const char32_t code : {U'\0', U'a', U'\x7F', U'\x80', U'\x7FF', U'\x800', U'\xD7FF',
                              U'\xE000', U'\xFFFF', U'\x10000', U'\x10FFFF'}) {
    std::string text;
    AppendUtf8(code, &text);
    EXPECT_EQ(WellFormedUtf8Size(text, 0), text.size());
    EXPECT_EQ(Utf8CodePoint(text, 0), code);
  }
}

TEST(Utf8Test, ReadsCodePoints) {
  const std::string text = "a\u00e9\u4f60\U0001f600";
  EXPECT_EQ(Utf8CodePoint(text, 0), U'a');
  EXPECT_EQ(Utf8CodePoint(text, 1), U'\u00e9');
  EXPECT_EQ(Utf8CodePoint(text, 3), U'\u4f60');
  EXPECT_EQ(Utf8CodePoint(text, 6), U'\U0001f600');
}

// The Unicode Standard, table 3-8, and the WHATWG decoder's rule.
TEST(Utf8RepairTest, ReplacesEachMaximalSubpartOnce) {
  EXPECT_EQ(Repair("\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64"),
            "\uFFFD\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFDd");
  EXPECT_EQ(Repair("\xC0\xAF\xE0\x80\xBF"), "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(Repair("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(Repair("\xE4\xBD"), "\uFFFD");
  EXPECT_EQ(Repair("\xE4\xBD\xA0"), "\u4f60");
}

TEST(Utf8RepairTest, SpeaksAsSoonAsItIsCertain) {
  Utf8Repair repair;
  std::string out;
  repair.Push("\xF0\x9F\x98", &out);
  EXPECT_EQ(out, "");
  EXPECT_EQ(repair.pending_bytes(), 3u);
  repair.Push("x", &out);
  EXPECT_EQ(out, "\uFFFDx");
  repair.Push("\xFF", &out);
  EXPECT_EQ(out, "\uFFFDx\uFFFD");
}

TEST(Utf8RepairTest, AnyCutGivesTheSameValidText) {
  RandomText random(1);
  for (int round = 0; round < 2000; ++round) {
    const std::string bytes = round % 2 == 0 ? random.Bytes(24) : random.Utf8(8) + random.Bytes(3);
    const std::string whole = Repair(bytes);
    ASSERT_EQ(FirstInvalidUtf8(whole), std::string_view::npos);
    if (FirstInvalidUtf8(bytes) == std::string_view::npos) {
      ASSERT_EQ(whole, bytes);
    }
    Utf8Repair repair;
    std::string joined;
    for (size_t at = 0; at < bytes.size();) {
      const size_t size = 1 + random.Below(4);
      std::string piece;
      repair.Push(std::string_view(bytes).substr(at, size), &piece);
      ASSERT_EQ(FirstInvalidUtf8(piece), std::string_view::npos);
      ASSERT_LE(repair.pending_bytes(), 3u);
      joined += piece;
      at += size;
    }
    repair.Finish(&joined);
    ASSERT_EQ(joined, whole);
  }
}

}  // namespace
}  // namespace headgate
