#include "kvstore/host_page_store.h"

#include <algorithm>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/kvstore/store_world.h"

namespace headgate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr RowSpec kFullRow;
constexpr RowSpec kStreamingRow{HeadClass::kStreaming, 16, 32};
constexpr RowSpec kGatedRow{HeadClass::kGated, 4, 8};

KvLayout OneRow(RowSpec row, int64_t page_tokens = 16) {
  return MakeKvLayout(page_tokens, 8, DType::kF32, {{row}});
}

std::unique_ptr<HostPageStore> MakeStore(KvLayout layout, uint32_t pages) {
  auto store = HostPageStore::Create(std::move(layout), pages);
  EXPECT_TRUE(store.ok()) << store.status();
  return *std::move(store);
}

absl::Status Begin(HostPageStore& store, SequenceId sequence, int64_t length) {
  const std::vector<Chunk> chunks = {MakeChunk(sequence, store.Length(sequence), length)};
  return store.BeginStep(chunks);
}

void Grow(HostPageStore& store, SequenceId sequence, int64_t length) {
  ASSERT_TRUE(Begin(store, sequence, length).ok());
  store.Commit();
  ASSERT_TRUE(store.CheckIntegrity().ok()) << store.CheckIntegrity();
}

TEST(HostPageStore, RefusesABadLayout) {
  EXPECT_EQ(HostPageStore::Create(OneRow({HeadClass::kStreaming, 8, 32}), 4).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(HostPageStore, FullRowsGrowByThePage) {
  auto store = MakeStore(MakeKvLayout(16, 8, DType::kF32, {{kFullRow, kFullRow}, {kFullRow}}), 9);
  ASSERT_TRUE(store->AddSequence(1).ok());
  Grow(*store, 1, 16);
  EXPECT_EQ(store->PagesHeld(1), 3u);
  Grow(*store, 1, 1);
  EXPECT_EQ(store->PagesHeld(1), 6u);
  Grow(*store, 1, 15);
  EXPECT_EQ(store->PagesHeld(1), 6u);
  EXPECT_EQ(store->Length(1), 32);
  EXPECT_EQ(store->Row(1, 1, 0).table.size(), 2u);
  EXPECT_EQ(store->Stats().referenced_full, 6u);
  EXPECT_EQ(store->Stats().freed_by_policy, 0u);
}

TEST(HostPageStore, StreamingRowsHoldTheSameAt1KAnd8K) {
  auto store = MakeStore(OneRow(kStreamingRow), 10);
  ASSERT_TRUE(store->AddSequence(1).ok());
  Grow(*store, 1, 1000);
  Grow(*store, 1, 24);
  EXPECT_EQ(store->PagesHeld(1), 4u);
  const std::vector<PageId> at_1k(store->Row(1, 0, 0).table.begin(),
                                  store->Row(1, 0, 0).table.end());
  while (store->Length(1) < 8192) Grow(*store, 1, 512);
  EXPECT_EQ(store->PagesHeld(1), 4u);
  EXPECT_THAT(store->Row(1, 0, 0).table, ::testing::ElementsAreArray(at_1k));
  EXPECT_EQ(store->Stats().referenced_streaming, 4u);
  EXPECT_EQ(store->Stats().freed_by_policy, 8192u / 16 - 4);
}

TEST(HostPageStore, PagesHeldDoNotDependOnChunks) {
  auto store = MakeStore(MakeKvLayout(16, 8, DType::kF32, {{kFullRow, kStreamingRow}}), 1000);
  ASSERT_TRUE(store->AddSequence(1).ok());
  ASSERT_TRUE(store->AddSequence(2).ok());
  for (int i = 0; i < 300; ++i) Grow(*store, 1, 1);
  const uint64_t freed_by_decodes = store->Stats().freed_by_policy;
  Grow(*store, 2, 300);
  EXPECT_EQ(store->PagesHeld(1), store->PagesHeld(2));
  EXPECT_EQ(store->Stats().freed_by_policy, 2 * freed_by_decodes);
}

TEST(HostPageStore, BeginStepChangesNothingWhenItFails) {
  auto store = MakeStore(OneRow(kFullRow), 4);
  ASSERT_TRUE(store->AddSequence(1).ok());
  ASSERT_TRUE(store->AddSequence(2).ok());
  Grow(*store, 1, 20);
  const PageStats before = store->Stats();
  const auto refused = [&](std::vector<Chunk> chunks) {
    const absl::Status status = store->BeginStep(chunks);
    EXPECT_EQ(store->Stats(), before);
    EXPECT_EQ(store->Length(1), 20);
    EXPECT_TRUE(store->CheckIntegrity().ok());
    return status;
  };
  const absl::Status full = refused({MakeChunk(1, 20, 13), MakeChunk(2, 0, 32)});
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(full.message()), HasSubstr("needs 3 pages, 2 of 4"));
  EXPECT_EQ(refused({MakeChunk(1, 20, 1), MakeChunk(3, 0, 1)}).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(refused({MakeChunk(1, 19, 1)}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(refused({MakeChunk(1, 20, 1), MakeChunk(1, 20, 1)}).code(),
            absl::StatusCode::kInvalidArgument);
  Grow(*store, 1, 44);  // the pages are there: 64 positions
}

TEST(HostPageStore, AbortReturnsWhatTheStepTook) {
  auto store = MakeStore(MakeKvLayout(16, 8, DType::kF32, {{kFullRow, kStreamingRow}}), 50);
  ASSERT_TRUE(store->AddSequence(1).ok());
  Grow(*store, 1, 40);
  const PageStats before = store->Stats();
  ASSERT_TRUE(Begin(*store, 1, 100).ok());
  EXPECT_TRUE(store->CheckIntegrity().ok());
  EXPECT_GT(store->Stats().referenced(), before.referenced());
  store->Abort();
  EXPECT_EQ(store->Stats().referenced(), before.referenced());
  EXPECT_EQ(store->Length(1), 40);
  EXPECT_TRUE(store->CheckIntegrity().ok());
  Grow(*store, 1, 1);
}

TEST(HostPageStore, ReleaseAndClearReturnEveryPage) {
  auto store = MakeStore(OneRow(kFullRow), 4);
  ASSERT_TRUE(store->AddSequence(1).ok());
  EXPECT_EQ(store->AddSequence(1).code(), absl::StatusCode::kAlreadyExists);
  Grow(*store, 1, 64);
  ASSERT_TRUE(store->Release(1).ok());
  EXPECT_EQ(store->Release(1).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(store->Stats().free, 4u);
  EXPECT_EQ(store->Stats().freed_by_release, 4u);
  EXPECT_EQ(store->Stats().peak_referenced, 4u);

  ASSERT_TRUE(store->AddSequence(2).ok());
  ASSERT_TRUE(Begin(*store, 2, 20).ok());
  store->Clear();
  EXPECT_EQ(store->Stats().free, 4u);
  EXPECT_TRUE(store->CheckIntegrity().ok());
  ASSERT_TRUE(store->AddSequence(2).ok());
  Grow(*store, 2, 64);
}

TEST(PageStoreDeathTest, HoldsCallersToTheOrderOfAStep) {
  auto store = MakeStore(OneRow(kFullRow), 4);
  ASSERT_TRUE(store->AddSequence(1).ok());
  EXPECT_DEATH(store->Commit(), "no step to commit");
  EXPECT_DEATH(store->Abort(), "no step to abort");
  EXPECT_DEATH(store->Row(9, 0, 0), "unknown sequence 9");
  ASSERT_TRUE(Begin(*store, 1, 1).ok());
  EXPECT_DEATH(store->BeginStep({}).IgnoreError(), "neither committed nor aborted");
  EXPECT_DEATH(store->Release(1).IgnoreError(), "in a begun step");
}

TEST(HostPageStore, GatedSurvivorsFillTheKeptListWithoutNewPages) {
  auto store = MakeStore(OneRow(kGatedRow, 4), 100);
  ASSERT_TRUE(store->AddSequence(1).ok());
  // 19 positions: sinks 0-3; query 19 sees the window from page 3 on; pages 1 and 2 have left.
  ASSERT_TRUE(Begin(*store, 1, 19).ok());
  const RowView begun = store->Row(1, 0, 0);
  ASSERT_EQ(begun.table.size(), 5u);
  const PageId page1 = begun.table[1];
  const PageId page2 = begun.table[2];
  const auto keep = [](SequenceId, int64_t, int64_t, int64_t position) {
    return position == 5 || position == 7 || position >= 9;
  };
  // Page 1 (4-7) becomes the list's first page with 5, 7; then 9, 10 fill it, 11 stays in page 2.
  EXPECT_THAT(store->CommitKept(keep),
              ElementsAre(TokenCopy{page1, 1, page1, 0}, TokenCopy{page1, 3, page1, 1},
                          TokenCopy{page2, 1, page1, 2}, TokenCopy{page2, 2, page1, 3},
                          TokenCopy{page2, 3, page2, 0}));
  const RowView row = store->Row(1, 0, 0);
  EXPECT_THAT(row.kept, ElementsAre(page1, page2));
  EXPECT_EQ(row.kept_tokens, 5);
  EXPECT_EQ(row.table.size(), 3u);
  EXPECT_TRUE(store->CheckIntegrity().ok());
}

TEST(HostPageStore, GatedRowsReturnPagesWithoutSurvivors) {
  auto store = MakeStore(OneRow(kGatedRow, 4), 100);
  ASSERT_TRUE(store->AddSequence(1).ok());
  ASSERT_TRUE(Begin(*store, 1, 400).ok());
  EXPECT_EQ(store->PagesHeld(1), 100u);  // the worst case: nothing evicted
  EXPECT_TRUE(
      store->CommitKept([](SequenceId, int64_t, int64_t, int64_t) { return false; }).empty());
  EXPECT_EQ(store->PagesHeld(1), 3u);  // sinks and a window of two
  EXPECT_EQ(store->Stats().freed_by_policy, 97u);
  EXPECT_TRUE(store->CheckIntegrity().ok());
}

TEST(HostPageStore, GatedRowsThatKeepAllCopyNothing) {
  auto store = MakeStore(OneRow(kGatedRow, 4), 100);
  ASSERT_TRUE(store->AddSequence(1).ok());
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(Begin(*store, 1, 3).ok());
    ASSERT_TRUE(store->CommitKept([](auto...) { return true; }).empty());
    ASSERT_LE(store->PagesHeld(1), WorstCasePages(kGatedRow, store->Length(1), 4));
  }
  EXPECT_EQ(store->PagesHeld(1), 75u);
}

}  // namespace
}  // namespace headgate
