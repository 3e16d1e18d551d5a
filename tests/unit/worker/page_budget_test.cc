#include "worker/page_budget.h"

#include <gtest/gtest.h>

namespace headgate {
namespace {

KvLayout Layout() {
  return MakeKvLayout(16, 64, DType::kBF16, {{RowSpec{}, RowSpec{}}, {RowSpec{}}});  // 4 KiB pages
}

TEST(PageBudgetTest, PagesWinOverBytes) {
  EXPECT_EQ(*CountPages({.pages = 7, .memory_bytes = 1}, Layout(), 0), 7u);
  EXPECT_EQ(*CountPages({.memory_bytes = 40960 + 4095}, Layout(), 0), 10u);
  EXPECT_EQ(*CountPages({}, Layout(), 3 * 4096), 3u);
}

TEST(PageBudgetTest, EveryRowNeedsAPage) {
  EXPECT_TRUE(CountPages({.pages = 3}, Layout(), 0).ok());
  EXPECT_EQ(CountPages({.pages = 2}, Layout(), 0).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CountPages({.memory_bytes = int64_t{1} << 60}, Layout(), 0).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace headgate
