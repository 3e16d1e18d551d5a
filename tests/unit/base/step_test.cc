#include "base/step.h"

#include "gtest/gtest.h"

namespace headgate {
namespace {

constexpr absl::Duration Ms(int64_t ms) { return absl::Milliseconds(ms); }

TEST(StepTimesTest, AddUpWhateverHasAClock) {
  StepTimes sum;
  sum += {Ms(1), Ms(2), Ms(3), Ms(4), Ms(5)};
  EXPECT_EQ(sum, (StepTimes{Ms(1), Ms(2), Ms(3), Ms(4), Ms(5)}));
  sum += {Ms(10), Ms(20), Ms(30), Ms(40), Ms(50), DeviceTimes{Ms(6), Ms(7)}};
  sum += {Ms(100), Ms(200), Ms(300), Ms(400), Ms(500), DeviceTimes{Ms(60), Ms(70)}};
  sum += {};
  EXPECT_EQ(sum,
            (StepTimes{Ms(111), Ms(222), Ms(333), Ms(444), Ms(555), DeviceTimes{Ms(66), Ms(77)}}));
}

}  // namespace
}  // namespace headgate
