// What tests of whole models on GPUs share.
#pragma once

#include <string>

#include "absl/strings/str_cat.h"
#include "tests/unit/worker/golden_file.h"

namespace headgate {

inline WorkerOptions GpuOptions(const std::string& model_dir, int gpu) {
  WorkerOptions options = SmallOptions(model_dir);
  options.device = absl::StrCat("cuda:", gpu);
  options.page_dtype = DType::kBF16;
  return options;
}

// Between two ways to compute a small random model in bf16. Two ranks round their parts of a sum
// where one GPU rounds the sum: in NumPy that moves a log-probability by up to 0.05 on average and
// 0.28 at most. In one layer, a part that is missing, heads in another order or another row's
// values move it by 0.35 and 1.2 or more.
inline constexpr float kSmallModelDifferenceMax = 0.4f;

// Of a small random model: bf16 moves its log-probabilities by 0.02 to 0.05 on average, and no
// first choice that leads by 0.25.
inline ScoreDistance ExpectSmallModelScores(const ScoredText& ours,
                                            const nlohmann::json& reference) {
  ScoreDistance distance;
  distance.Add(ours, reference, 0.25);
  EXPECT_EQ(distance.clear_same_top1, distance.clear);
  EXPECT_LT(distance.mean_difference(), 0.06);
  return distance;
}

}  // namespace headgate
