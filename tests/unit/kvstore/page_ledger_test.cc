#include "kvstore/page_ledger.h"

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace headgate {
namespace {

using ::testing::HasSubstr;

using Held = std::vector<uint32_t>;

// Rank 0: 2 full rows. Rank 1: 1 full row and 3 streaming rows of at most 4 pages.
GroupShape TwoRanks(uint32_t pages0, uint32_t pages1) {
  GroupShape shape;
  shape.page_tokens = 16;
  shape.ranks.push_back(
      {.pages_total = pages0, .page_bytes = 1, .rows = {{HeadClass::kFull, 2, 0, 0}}});
  shape.ranks.push_back(
      {.pages_total = pages1,
       .page_bytes = 1,
       .rows = {{HeadClass::kFull, 1, 0, 0}, {HeadClass::kStreaming, 3, 16, 32}}});
  return shape;
}

GroupShape OneRank(uint32_t pages, HeadClass head_class = HeadClass::kFull) {
  GroupShape shape;
  shape.page_tokens = 16;
  const int64_t window = head_class == HeadClass::kFull ? 0 : 32;
  shape.ranks.push_back(
      {.pages_total = pages, .page_bytes = 1, .rows = {{head_class, 1, 0, window}}});
  return shape;
}

void ExpectBooks(const PageLedger& ledger, int rank, int64_t held, int64_t reserved,
                 int64_t pending) {
  EXPECT_EQ(ledger.Held(rank), held);
  EXPECT_EQ(ledger.Reserved(rank), reserved);
  EXPECT_EQ(ledger.PendingFree(rank), pending);
  EXPECT_EQ(ledger.Free(rank), ledger.Total(rank) - held - reserved - pending);
  EXPECT_TRUE(ledger.CheckIntegrity().ok()) << ledger.CheckIntegrity();
}

TEST(PageLedger, CountsTheWorstCaseOfEachRank) {
  const PageLedger ledger = *PageLedger::Create(TwoRanks(100, 100));
  EXPECT_EQ(ledger.WorstCase(0, 0), 0);
  EXPECT_EQ(ledger.WorstCase(0, 17), 4);
  EXPECT_EQ(ledger.WorstCase(1, 17), 2 + 3 * 2);
  EXPECT_EQ(ledger.WorstCase(1, 1600), 100 + 3 * 4);
}

TEST(PageLedger, FitsEverIsTheTightestRankWithoutEvictionCredit) {
  const PageLedger ledger = *PageLedger::Create(TwoRanks(100, 40));
  EXPECT_TRUE(ledger.FitsEver(28 * 16));  // rank 1: 28 + 12
  EXPECT_FALSE(ledger.FitsEver(28 * 16 + 1));
  EXPECT_FALSE(ledger.FitsEver(int64_t{1} << 40));
  EXPECT_FALSE(ledger.FitsEver(-1));
  const PageLedger gated = *PageLedger::Create(OneRank(10, HeadClass::kGated));
  EXPECT_TRUE(gated.FitsEver(160));
  EXPECT_FALSE(gated.FitsEver(161));
}

TEST(PageLedger, RefusesAShapeThatMakesNoSense) {
  EXPECT_FALSE(PageLedger::Create(GroupShape{}).ok());
  GroupShape shape = TwoRanks(10, 10);
  shape.ranks[1].rows[1].window = 40;
  const absl::Status status = PageLedger::Create(shape).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("rank 1: sinks 16 and window 40"));
  shape = TwoRanks(10, 10);
  shape.ranks[0].rows[0].rows = ~uint32_t{0};
  EXPECT_THAT(std::string(PageLedger::Create(shape).status().message()), HasSubstr("rank 0"));
}

TEST(PageLedger, ReservesOnAllRanksOrNone) {
  PageLedger ledger = *PageLedger::Create(TwoRanks(4, 100));
  EXPECT_TRUE(ledger.TryReserve(1, 16));
  EXPECT_FALSE(ledger.TryReserve(2, 17));  // rank 0 needs 4 pages, has 2
  ExpectBooks(ledger, 0, 0, 2, 0);
  ExpectBooks(ledger, 1, 0, 4, 0);
  EXPECT_EQ(ledger.Sequences(), 1);
  EXPECT_TRUE(ledger.TryReserve(2, 16));
  EXPECT_FALSE(ledger.TryReserve(2, 17));
  ExpectBooks(ledger, 0, 0, 4, 0);
}

TEST(PageLedger, SettlingMovesReservedPagesToHeld) {
  PageLedger ledger = *PageLedger::Create(TwoRanks(100, 100));
  ASSERT_TRUE(ledger.TryReserve(1, 40));
  ASSERT_TRUE(ledger.Settle(1, 16, Held{2, 4}).ok());
  ExpectBooks(ledger, 0, 2, 4, 0);
  ExpectBooks(ledger, 1, 4, 8, 0);
  ASSERT_TRUE(ledger.Settle(1, 40, Held{6, 12}).ok());
  ExpectBooks(ledger, 0, 6, 0, 0);
  ExpectBooks(ledger, 1, 12, 0, 0);
}

TEST(PageLedger, PagesThatAPolicyFreedCountOnceReported) {
  PageLedger ledger = *PageLedger::Create(OneRank(10, HeadClass::kGated));
  ASSERT_TRUE(ledger.TryReserve(1, 96));
  ASSERT_TRUE(ledger.TryReserve(1, 112));  // a second step in flight
  ExpectBooks(ledger, 0, 0, 7, 0);
  ASSERT_TRUE(ledger.Settle(1, 96, Held{3}).ok());
  ExpectBooks(ledger, 0, 3, 1, 0);  // 96 -> 112 may still take one page
  ASSERT_TRUE(ledger.Settle(1, 112, Held{4}).ok());
  ExpectBooks(ledger, 0, 4, 0, 0);
}

TEST(PageLedger, RefusesReportsThatBreakTheContract) {
  PageLedger ledger = *PageLedger::Create(OneRank(10));
  EXPECT_EQ(ledger.Settle(1, 16, Held{1}).code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(ledger.TryReserve(1, 16));
  const absl::Status more = ledger.Settle(1, 16, Held{2});
  EXPECT_EQ(more.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(more.message()),
              HasSubstr("sequence 1: rank 0 holds 2 pages after 16 tokens, at most 1"));
  EXPECT_EQ(ledger.Settle(1, 17, Held{1}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ledger.Settle(1, -5, Held{1}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ledger.Settle(1, 16, Held{1, 1}).code(), absl::StatusCode::kInvalidArgument);
  ExpectBooks(ledger, 0, 0, 1, 0);
}

TEST(PageLedger, ReleasedPagesAreFreeOnlyPastTheFence) {
  PageLedger ledger = *PageLedger::Create(OneRank(3));
  ASSERT_TRUE(ledger.TryReserve(1, 32));
  ASSERT_TRUE(ledger.Settle(1, 16, Held{1}).ok());
  ASSERT_TRUE(ledger.ReleaseAt(1, 5).ok());
  ExpectBooks(ledger, 0, 0, 0, 2);
  EXPECT_FALSE(ledger.TryReserve(2, 32));
  EXPECT_EQ(ledger.Settle(1, 32, Held{2}).code(), absl::StatusCode::kNotFound);  // late
  EXPECT_EQ(ledger.ReleaseAt(1, 5).code(), absl::StatusCode::kNotFound);
  ledger.Fence(4);
  EXPECT_FALSE(ledger.TryReserve(2, 32));
  ledger.Fence(5);
  ExpectBooks(ledger, 0, 0, 0, 0);
  EXPECT_TRUE(ledger.TryReserve(2, 32));
}

TEST(PageLedger, ASequenceThatNoWorkerSawIsFreedAtOnce) {
  PageLedger ledger = *PageLedger::Create(OneRank(9));
  ASSERT_TRUE(ledger.TryReserve(1, 16));
  ASSERT_TRUE(ledger.TryReserve(2, 16));
  ledger.Fence(3);
  ASSERT_TRUE(ledger.ReleaseAt(1, 5).ok());
  ASSERT_TRUE(ledger.ReleaseAt(2, 3).ok());
  ExpectBooks(ledger, 0, 0, 0, 1);
}

TEST(PageLedgerScratch, TriesWithoutTouchingTheLedger) {
  PageLedger ledger = *PageLedger::Create(OneRank(4));
  ASSERT_TRUE(ledger.TryReserve(1, 16));
  PageLedger::Scratch scratch(ledger);
  EXPECT_TRUE(scratch.TryReserve(1, 32));
  EXPECT_TRUE(scratch.TryReserve(2, 32));
  EXPECT_FALSE(scratch.TryReserve(1, 48));
  EXPECT_EQ(scratch.Free(0), 0);
  EXPECT_EQ(ledger.Free(0), 3);
  scratch.Cancel(2);
  scratch.Cancel(99);
  EXPECT_EQ(scratch.Free(0), 2);
  EXPECT_TRUE(scratch.TryReserve(1, 48));
  ledger.Commit(scratch);
  EXPECT_EQ(ledger.Sequences(), 1);
  ExpectBooks(ledger, 0, 0, 3, 0);
}

TEST(PageLedgerDeathTest, RefusesAStaleScratchAndShrinking) {
  PageLedger ledger = *PageLedger::Create(OneRank(4));
  PageLedger::Scratch scratch(ledger);
  ASSERT_TRUE(scratch.TryReserve(1, 32));
  ASSERT_TRUE(ledger.TryReserve(2, 16));
  EXPECT_DEATH(ledger.Commit(scratch), "changed under a plan");
  ASSERT_TRUE(ledger.TryReserve(2, 32));
  EXPECT_DEATH(ledger.TryReserve(2, 16), "shrinks");
  ASSERT_TRUE(ledger.ReleaseAt(2, 7).ok());
  ASSERT_TRUE(ledger.TryReserve(3, 16));
  EXPECT_DEATH(ledger.ReleaseAt(3, 6).IgnoreError(), "step order");
}

// A step of 256 decodes on 8 ranks. The bound is loose (a loaded machine, sanitizers); the point is
// that nothing here grows with the length of the sequences.
TEST(PageLedgerScratch, PlansManySequencesCheaply) {
  GroupShape shape;
  shape.page_tokens = 16;
  for (int rank = 0; rank < 8; ++rank) {
    shape.ranks.push_back(
        {.pages_total = 100'000'000,
         .page_bytes = 1,
         .rows = {{HeadClass::kFull, 16, 0, 0}, {HeadClass::kStreaming, 16, 64, 256}}});
  }
  PageLedger ledger = *PageLedger::Create(shape);
  for (SequenceId id = 1; id <= 256; ++id) ASSERT_TRUE(ledger.TryReserve(id, 100'000));
  const auto begin = std::chrono::steady_clock::now();
  constexpr int kSteps = 160;
  for (int64_t step = 1; step <= kSteps; ++step) {
    PageLedger::Scratch scratch(ledger);
    for (SequenceId id = 1; id <= 256; ++id) {
      // Staggered, as sequences are: a sixteenth of them begins a page in each step.
      ASSERT_TRUE(scratch.TryReserve(id, 100'000 + static_cast<int64_t>(id) % 16 + step));
    }
    ledger.Commit(scratch);
  }
  const std::chrono::duration<double, std::micro> spent = std::chrono::steady_clock::now() - begin;
  RecordProperty("us_per_step", std::to_string(spent.count() / kSteps));
  EXPECT_LT(spent.count() / kSteps, 2000.0);
}

}  // namespace
}  // namespace headgate
