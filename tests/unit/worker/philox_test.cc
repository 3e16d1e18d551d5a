#include "worker/sampling/philox.h"

#include <gtest/gtest.h>

namespace headgate {
namespace {

using Words = std::array<uint32_t, 4>;

// Known answers published with the paper's reference library (Random123, kat_vectors).
TEST(PhiloxTest, KnownAnswers) {
  EXPECT_EQ(Philox4x32({0, 0, 0, 0}, {0, 0}),
            (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const uint32_t ones = 0xffffffff;
  EXPECT_EQ(Philox4x32({ones, ones, ones, ones}, {ones, ones}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(PhiloxTest, UniformDependsOnSeedAndIndexOnly) {
  EXPECT_EQ(UniformForToken(5, 9), UniformForToken(5, 9));
  EXPECT_NE(UniformForToken(5, 9), UniformForToken(5, 10));
  EXPECT_NE(UniformForToken(5, 9), UniformForToken(6, 9));
  EXPECT_NE(UniformForToken(uint64_t{1} << 40, 0), UniformForToken(0, 0));
}

TEST(PhiloxTest, UniformFillsTheUnitInterval) {
  constexpr int kBins = 100, kDraws = 200000;
  int counts[kBins] = {};
  for (int i = 0; i < kDraws; ++i) {
    const double u = UniformForToken(42, i);
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    ++counts[static_cast<int>(u * kBins)];
  }
  double chi = 0;
  const double expected = static_cast<double>(kDraws) / kBins;
  for (const int count : counts) chi += (count - expected) * (count - expected) / expected;
  EXPECT_LT(chi, 149.0);  // 99 degrees of freedom: p = 0.001
}

}  // namespace
}  // namespace headgate
