#include "kvstore/visibility.h"

#include <algorithm>
#include <set>

#include "gtest/gtest.h"

namespace headgate {
namespace {

constexpr RowSpec kFullRow;
constexpr RowSpec kStreamingRow{HeadClass::kStreaming, 32, 64};
constexpr RowSpec kGatedRow{HeadClass::kGated, 16, 32};

TEST(Visibility, FullRowsSeeEverything) {
  EXPECT_EQ(WindowStart(kFullRow, 1000, 16), 0);
  EXPECT_TRUE(InSinksOrWindow(kFullRow, 0, 1000, 16));
  EXPECT_EQ(WorstCasePages(kFullRow, 0, 16), 0);
  EXPECT_EQ(WorstCasePages(kFullRow, 16, 16), 1);
  EXPECT_EQ(WorstCasePages(kFullRow, 17, 16), 2);
}

TEST(Visibility, WindowBeginsAtAPageBoundaryBehindTheSinks) {
  EXPECT_EQ(WindowStart(kStreamingRow, 0, 16), 32);   // short: nothing has left
  EXPECT_EQ(WindowStart(kStreamingRow, 95, 16), 32);  // t - 64 + 1 = 32
  EXPECT_EQ(WindowStart(kStreamingRow, 96, 16), 32);  // 33 rounds down
  EXPECT_EQ(WindowStart(kStreamingRow, 110, 16), 32);
  EXPECT_EQ(WindowStart(kStreamingRow, 111, 16), 48);  // 48 exactly
  EXPECT_TRUE(InSinksOrWindow(kStreamingRow, 31, 111, 16));
  EXPECT_FALSE(InSinksOrWindow(kStreamingRow, 47, 111, 16));
  EXPECT_TRUE(InSinksOrWindow(kStreamingRow, 48, 111, 16));
}

// Vis as docs/contract.md words it, position by position.
TEST(Visibility, MatchesTheDefinitionForEveryShape) {
  for (const int64_t page_tokens : {1, 2, 4, 16}) {
    for (const int64_t sinks : {int64_t{0}, page_tokens, 3 * page_tokens}) {
      for (const int64_t window : {page_tokens, 2 * page_tokens, 5 * page_tokens}) {
        const RowSpec row{HeadClass::kStreaming, sinks, window};
        int64_t pages_most = 0;
        for (int64_t t = 0; t < 12 * page_tokens; ++t) {
          std::set<int64_t> pages;
          int64_t in_window = 0;
          for (int64_t i = 0; i <= t; ++i) {
            const int64_t page_first = std::max<int64_t>(0, t - window + 1) / page_tokens;
            const bool expected = i < sinks || i / page_tokens >= page_first;
            ASSERT_EQ(InSinksOrWindow(row, i, t, page_tokens), expected) << i << " from " << t;
            if (expected) pages.insert(i / page_tokens);
            if (expected && i >= sinks) ++in_window;
          }
          pages_most = std::max(pages_most, static_cast<int64_t>(pages.size()));
          ASSERT_LE(in_window, window + page_tokens - 1);
          ASSERT_GE(in_window, std::min(window, std::max<int64_t>(0, t + 1 - sinks)));
        }
        EXPECT_EQ(pages_most, ResidentPages(row, page_tokens) - (page_tokens == 1 ? 1 : 0));
      }
    }
  }
}

TEST(Visibility, StreamingRowsStopGrowingGatedRowsDoNot) {
  EXPECT_EQ(ResidentPages(kStreamingRow, 16), 2 + 4 + 1);
  EXPECT_EQ(WorstCasePages(kStreamingRow, 90, 16), 6);
  EXPECT_EQ(WorstCasePages(kStreamingRow, 1024, 16), 7);
  EXPECT_EQ(WorstCasePages(kStreamingRow, 8192, 16), 7);
  EXPECT_EQ(WorstCasePages(kGatedRow, 8192, 16), 512);
}

}  // namespace
}  // namespace headgate
