#include "worker/sampling/softmax.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace headgate {
namespace {

TEST(SoftmaxTest, ExponentialsMatchTheLibrary) {
  std::vector<float> logits;
  for (float x = 0.0f; x > -84.0f; x -= 0.0137f) logits.push_back(x);
  std::vector<float> out;
  double exact_sum = 0;
  const double sum = ExpAndSum(logits, 0.0f, 1.0, out);
  for (size_t i = 0; i < logits.size(); ++i) {
    const double exact = std::exp(static_cast<double>(logits[i]));
    ASSERT_NEAR(out[i] / exact, 1.0, 3e-7 + 1.2e-7 * -logits[i]) << logits[i];
    exact_sum += exact;
  }
  EXPECT_NEAR(sum / exact_sum, 1.0, 1e-7);
  EXPECT_EQ(out[0], 1.0f);
}

TEST(SoftmaxTest, ExtremeScalesLeaveOnlyThePeak) {
  const std::vector<float> logits = {-1e30f, 3.0f, 2.9999f, 3.0f};
  std::vector<float> out;
  EXPECT_EQ(ExpAndSum(logits, 3.0f, std::numeric_limits<double>::infinity(), out), 2.0);
  EXPECT_EQ(out, (std::vector<float>{0, 1, 0, 1}));
  EXPECT_EQ(ExpAndSum(logits, 3.0f, 0.0, out), 4.0);
}

TEST(SoftmaxTest, PeakIsTheLowestIdOfTheHighest) {
  std::vector<float> logits(1000, -2.0f);
  logits[999] = logits[17] = logits[500] = 4.0f;
  const Peak peak = FindPeak(logits);
  EXPECT_TRUE(peak.finite);
  EXPECT_EQ(peak.token, 17);
  EXPECT_EQ(peak.logit, 4.0f);
}

TEST(SoftmaxTest, NonFiniteAnywhereIsSeen) {
  const float bad[] = {std::nanf(""), std::numeric_limits<float>::infinity(),
                       -std::numeric_limits<float>::infinity()};
  for (const float value : bad) {
    for (const size_t at : {size_t{0}, size_t{15}, size_t{16}, size_t{36}}) {
      std::vector<float> logits(37, 1.0f);
      logits[at] = value;
      EXPECT_FALSE(FindPeak(logits).finite) << at;
    }
  }
  EXPECT_FALSE(FindPeak({}).finite);
}

TEST(SoftmaxTest, LogSumExpIsExactEnough) {
  std::vector<float> logits, scratch;
  double sum = 0;
  for (int i = 0; i < 50000; ++i) {
    logits.push_back(static_cast<float>(10.0 * std::sin(i * 0.7)));
    sum += std::exp(static_cast<double>(logits.back()));
  }
  EXPECT_NEAR(LogSumExp(logits, FindPeak(logits).logit, scratch), std::log(sum), 1e-6);
}

}  // namespace
}  // namespace headgate
