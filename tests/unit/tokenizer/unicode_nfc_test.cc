#include "server/tokenizer/unicode_nfc.h"

#include "base/utf8.h"
#include "gtest/gtest.h"
#include "tests/unit/tokenizer/random_text.h"

namespace headgate {
namespace {

TEST(UnicodeNfcTest, ComposesAndOrders) {
  EXPECT_EQ(ToNfc("plain"), "plain");
  EXPECT_EQ(ToNfc("e\u0301"), "\u00e9");
  EXPECT_EQ(ToNfc("a\u0302\u0323"), "\u1ead");       // marks are put in order first
  EXPECT_EQ(ToNfc("\u212b"), "\u00c5");              // singleton
  EXPECT_EQ(ToNfc("\u0958"), "\u0915\u093c");        // composition exclusion
  EXPECT_EQ(ToNfc("\u1100\u1161\u11a8"), "\uac01");  // Hangul
}

TEST(UnicodeNfcTest, IsIdempotentAndWellFormed) {
  RandomText random(2);
  for (int round = 0; round < 2000; ++round) {
    const std::string once = ToNfc(random.Utf8(12));
    ASSERT_EQ(FirstInvalidUtf8(once), std::string_view::npos);
    ASSERT_EQ(ToNfc(once), once);
  }
}

// 2^20 combining marks in descending order: a quadratic sort would run into the test's time limit.
TEST(UnicodeNfcTest, LongRunsOfMarksStayCheap) {
  std::string marks = "x";
  for (int i = 0; i < 1 << 19; ++i) marks += "\u0301\u0323";
  const std::string ordered = ToNfc(marks);
  EXPECT_EQ(ordered.size(), marks.size());
  EXPECT_EQ(ordered.substr(0, 5), "x\u0323\u0323");
}

}  // namespace
}  // namespace headgate
