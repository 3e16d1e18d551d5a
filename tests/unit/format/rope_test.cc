#include "worker/format/rope.h"

#include <gtest/gtest.h>

#include <string>

#include "nlohmann/json.hpp"
#include "tests/test_files.h"
#include "worker/format/rope_config.h"

namespace headgate {
namespace {

// transformers computes in float32, so it differs from our double in the last bits.
TEST(RopeTest, MatchesTransformers) {
  const auto golden = nlohmann::json::parse(ReadFile(GoldenFile("rope.json")));
  ASSERT_EQ(golden["cases"].size(), 8u);
  for (const auto& wanted : golden["cases"]) {
    const auto rope = ReadRopeParams(ConfigValues(wanted, "golden"));
    ASSERT_TRUE(rope.ok()) << rope.status();
    const std::vector<float> found = RopeFrequencies(*rope, wanted["head_dim"].get<int64_t>());
    ASSERT_EQ(found.size(), wanted["inv_freq"].size());
    for (size_t i = 0; i < found.size(); ++i) {
      const double value = wanted["inv_freq"][i].get<double>();
      EXPECT_NEAR(found[i], value, 2e-6 * value) << wanted["rope_scaling"] << " " << i;
    }
  }
}

TEST(RopeTest, Llama3KeepsFastAndSlowsDownSlowFrequencies) {
  RopeParams rope;
  const std::vector<float> plain = RopeFrequencies(rope, 16);
  rope = {RopeKind::kLlama3, 10000.0, 8.0, 1.0, 4.0, 64};
  const std::vector<float> scaled = RopeFrequencies(rope, 16);
  EXPECT_EQ(scaled.front(), plain.front());
  EXPECT_FLOAT_EQ(scaled.back(), plain.back() / 8.0f);
  EXPECT_LT(scaled[1], plain[1]);
  EXPECT_GT(scaled[1], plain[1] / 8.0f);
}

}  // namespace
}  // namespace headgate
