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

// A device with room for `room` pages.
struct Device {
  uint32_t room;
  std::vector<uint32_t> asked;

  absl::StatusOr<uint32_t> Fit(uint32_t wanted, uint32_t least) {
    return FitPages(wanted, least, [this](uint32_t pages) {
      asked.push_back(pages);
      return pages <= room ? absl::OkStatus() : absl::ResourceExhaustedError("full");
    });
  }
};

TEST(FitPagesTest, ShrinksUntilThePagesFit) {
  Device device{900, {}};
  EXPECT_EQ(*device.Fit(1000, 1), 900u);
  EXPECT_EQ(device.asked, (std::vector<uint32_t>{1000, 950, 900}));
  EXPECT_EQ(*Device(1000, {}).Fit(1000, 1000), 1000u);
}

TEST(FitPagesTest, GivesUpAtHalfAndAtTheLeast) {
  Device none{0, {}};
  EXPECT_EQ(none.Fit(1000, 1).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(none.asked.back(), 500u);
  Device device{900, {}};
  EXPECT_EQ(device.Fit(1000, 940).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(device.asked, (std::vector<uint32_t>{1000, 950}));
}

TEST(FitPagesTest, OtherErrorsAreNotForSpace) {
  int calls = 0;
  const auto fitted = FitPages(1000, 1, [&calls](uint32_t) {
    ++calls;
    return absl::InvalidArgumentError("no kernels");
  });
  EXPECT_EQ(fitted.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace headgate
