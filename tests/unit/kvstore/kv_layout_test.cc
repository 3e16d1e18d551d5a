#include "kvstore/kv_layout.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace headgate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr RowSpec kFullRow;
constexpr RowSpec kStreamingRow{HeadClass::kStreaming, 16, 32};

TEST(KvLayout, LayersMayDifferInHeads) {
  const KvLayout layout =
      MakeKvLayout(16, 64, DType::kBF16, {{kFullRow, kStreamingRow}, {}, {kStreamingRow}});
  ASSERT_TRUE(ValidateKvLayout(layout).ok());
  EXPECT_EQ(layout.layers(), 3);
  EXPECT_EQ(layout.kv_heads(0), 2);
  EXPECT_EQ(layout.kv_heads(1), 0);
  EXPECT_EQ(layout.kv_heads(2), 1);
  EXPECT_EQ(layout.row_index(2, 0), 2);
  EXPECT_EQ(layout.row(0, 1), kStreamingRow);
  EXPECT_EQ(layout.row(2, 0), kStreamingRow);
  EXPECT_EQ(layout.page_bytes(), 2 * 16 * 64 * 2);
  EXPECT_THAT(CountRowGroups(layout), ElementsAre(RowGroup{HeadClass::kFull, 1, 0, 0},
                                                  RowGroup{HeadClass::kStreaming, 2, 16, 32}));
}

TEST(KvLayout, AnEmptyRankIsValid) {
  EXPECT_TRUE(ValidateKvLayout(MakeKvLayout(16, 64, DType::kBF16, {{}, {}})).ok());
}

std::string Complaint(const KvLayout& layout) {
  return std::string(ValidateKvLayout(layout).message());
}

TEST(KvLayout, NamesWhatIsWrong) {
  const auto with = [](RowSpec row) { return MakeKvLayout(16, 64, DType::kBF16, {{}, {row}}); };
  EXPECT_THAT(Complaint(MakeKvLayout(12, 64, DType::kBF16, {})), HasSubstr("page_tokens 12"));
  EXPECT_THAT(Complaint(MakeKvLayout(0, 64, DType::kBF16, {})), HasSubstr("page_tokens 0"));
  EXPECT_THAT(Complaint(MakeKvLayout(16, 0, DType::kBF16, {})), HasSubstr("head_dim 0"));
  EXPECT_THAT(Complaint(with({HeadClass::kStreaming, 8, 32})),
              HasSubstr("layer 1, kv head 0: sinks 8"));
  EXPECT_THAT(Complaint(with({HeadClass::kStreaming, -16, 32})), HasSubstr("sinks -16"));
  EXPECT_THAT(Complaint(with({HeadClass::kGated, 16, 0})), HasSubstr("window 0"));
  EXPECT_THAT(Complaint(with({HeadClass::kFull, 16, 0})), HasSubstr("no sinks"));
  KvLayout broken = with(kFullRow);
  broken.row_begin.back() = 2;
  EXPECT_THAT(Complaint(broken), HasSubstr("row_begin"));
}

TEST(RowView, MapsPositionsToSlots) {
  const std::vector<PageId> table = {10, 11, 12, 13, 14};
  RowView view;
  view.spec = {HeadClass::kStreaming, 16, 32};
  view.page_tokens = 16;
  view.table = table;
  EXPECT_EQ(view.Slot(15), 0);  // the sinks
  EXPECT_EQ(view.Slot(16), 1);  // the ring has 32 / 16 + 1 slots
  EXPECT_EQ(view.Slot(63), 3);
  EXPECT_EQ(view.Slot(64), 1);
  EXPECT_EQ(view.PageAt(64), 11u);

  view.spec = {};
  EXPECT_EQ(view.Slot(64), 4);

  view.spec = {HeadClass::kGated, 16, 32};
  view.length = 80;  // the window begins at 48
  EXPECT_EQ(view.Slot(3), 0);
  EXPECT_EQ(view.Slot(48), 1);
  EXPECT_EQ(view.Slot(80), 3);
}

}  // namespace
}  // namespace headgate
