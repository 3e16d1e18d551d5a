// Weights that came from int4 or int8 groups must survive a second rounding.
#include "worker/cpu/quantize.h"

#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "worker/cpu/float_formats.h"

namespace headgate {
namespace {

float ToF16(float value) { return F16ToFloat(FloatToF16(value)); }

void ExpectExact(const std::vector<float>& w, const Int4Group& group) {
  for (size_t i = 0; i < 32; ++i) {
    const float back =
        F16ToFloat(group.scale) * static_cast<float>(group.q[i]) + F16ToFloat(group.minimum);
    EXPECT_EQ(back, w[i]) << "weight " << i;
  }
}

TEST(QuantizeTest, Int4GroupsOfAGridAreExact) {
  std::mt19937 random(5);
  std::uniform_real_distribution<float> real(0.001f, 0.05f);
  for (int round = 0; round < 2000; ++round) {
    const float scale = ToF16(real(random));
    const float minimum = ToF16(-8.0f * real(random));
    // Some groups use only a part of 0..15, or one value.
    const int lo = static_cast<int>(random() % 8);
    const int hi = lo + static_cast<int>(random() % static_cast<uint32_t>(16 - lo));
    std::vector<float> w;
    for (int i = 0; i < 32; ++i) {
      const int q = lo + static_cast<int>(random() % static_cast<uint32_t>(hi - lo + 1));
      w.push_back(scale * static_cast<float>(q) + minimum);
    }
    if (hi == lo && ToF16(w[0]) != w[0]) continue;  // one value, not in fp16: no grid to find
    Int4Group group;
    ASSERT_TRUE(QuantizeInt4(std::span<const float, 32>(w), group));
    ExpectExact(w, group);
  }
}

TEST(QuantizeTest, Int8GroupsOfAGridAreExact) {
  std::mt19937 random(6);
  std::uniform_real_distribution<float> real(1e-4f, 0.02f);
  for (int round = 0; round < 2000; ++round) {
    const float scale = ToF16(real(random));
    std::vector<float> w{-127.0f * scale};  // the largest is 127 steps: the format's own rule
    for (int i = 1; i < 32; ++i) {
      w.push_back(scale * (static_cast<float>(random() % 255) - 127.0f));
    }
    Int8Group group;
    ASSERT_TRUE(QuantizeInt8(std::span<const float, 32>(w), group));
    for (size_t i = 0; i < 32; ++i) {
      EXPECT_EQ(F16ToFloat(group.scale) * static_cast<float>(group.q[i]), w[i]);
    }
  }
}

TEST(QuantizeTest, AnyWeightsAreWithinHalfAStep) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0.0f, 0.04f);
  for (int round = 0; round < 200; ++round) {
    std::vector<float> w(32);
    for (float& value : w) value = normal(random);
    Int4Group four;
    Int8Group eight;
    ASSERT_TRUE(QuantizeInt4(std::span<const float, 32>(w), four));
    ASSERT_TRUE(QuantizeInt8(std::span<const float, 32>(w), eight));
    for (size_t i = 0; i < 32; ++i) {
      const float s4 = F16ToFloat(four.scale), s8 = F16ToFloat(eight.scale);
      EXPECT_NEAR(s4 * four.q[i] + F16ToFloat(four.minimum), w[i], 0.52f * s4 + 1e-4f);
      EXPECT_NEAR(s8 * eight.q[i], w[i], 0.52f * s8 + 1e-4f);
    }
  }
}

TEST(QuantizeTest, ZerosStayZero) {
  const std::vector<float> w(32, 0.0f);
  Int4Group four;
  Int8Group eight;
  ASSERT_TRUE(QuantizeInt4(std::span<const float, 32>(w), four));
  ASSERT_TRUE(QuantizeInt8(std::span<const float, 32>(w), eight));
  ExpectExact(w, four);
  EXPECT_EQ(eight.q[3], 0);
}

TEST(FloatFormatsTest, Fp16RoundTripsEveryValue) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = F16ToFloat(static_cast<uint16_t>(bits));
    if (value != value) continue;
    EXPECT_EQ(FloatToF16(value), bits);
  }
  EXPECT_EQ(FloatToF16(65520.0f), 0x7C00);
  EXPECT_EQ(FloatToF16(65519.0f), 0x7BFF);
  EXPECT_EQ(FloatToF16(1.0f + 0x1p-11f), 0x3C00);  // tie: to even
  EXPECT_EQ(FloatToF16(1.0f + 0x3p-11f), 0x3C02);
}

TEST(FloatFormatsTest, Bf16RoundsToEvenAndKeepsNan) {
  EXPECT_EQ(FloatToBf16(1.0f + 0x1p-8f), 0x3F80);
  EXPECT_EQ(FloatToBf16(1.0f + 0x3p-8f), 0x3F82);
  const float nan = Bf16ToFloat(FloatToBf16(BitsToFloat(0x7F800001u)));
  EXPECT_NE(nan, nan);
}

}  // namespace
}  // namespace headgate
