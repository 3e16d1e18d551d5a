#include "scheduler/retry_after.h"

#include <gtest/gtest.h>

namespace headgate {
namespace {

TEST(RetryEstimateTest, StaysWithinItsBounds) {
  RetryEstimate estimate;
  EXPECT_EQ(estimate.RetryAfter(1000), absl::Milliseconds(100));
  absl::Time now = absl::UnixEpoch();
  for (int i = 0; i < 50; ++i) estimate.Finished(now += absl::Milliseconds(10));
  EXPECT_EQ(estimate.RetryAfter(800), absl::Seconds(1));
  EXPECT_EQ(estimate.RetryAfter(10'000'000), absl::Seconds(30));
  estimate.Finished(now - absl::Hours(1));  // a clock that steps back
  EXPECT_GE(estimate.RetryAfter(800), absl::Milliseconds(100));
}

TEST(RetryEstimateTest, FollowsTheRecentRate) {
  RetryEstimate estimate;
  absl::Time now = absl::UnixEpoch();
  for (int i = 0; i < 50; ++i) estimate.Finished(now += absl::Milliseconds(10));
  const absl::Duration before = estimate.RetryAfter(800);
  for (int i = 0; i < 50; ++i) estimate.Finished(now += absl::Milliseconds(40));
  EXPECT_GT(estimate.RetryAfter(800), 3 * before);
}

}  // namespace
}  // namespace headgate
