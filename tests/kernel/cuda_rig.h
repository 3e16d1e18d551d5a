// What the GPU tests share: a CUDA backend, values in and out of its tensors, and comparisons.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include "worker/backend.h"

namespace headgate {

// Ends the test program when there is no GPU: a skipped GPU test proves nothing.
std::unique_ptr<Backend> NewCudaBackend(int64_t step_tokens_max = 4096);

// Values to and from a device tensor; bf16 ones are rounded to nearest.
void Put(Tensor tensor, std::span<const float> values);
std::vector<float> Get(Tensor tensor);
// A device tensor with these values.
Tensor NewTensor(Backend& backend, std::span<const float> values, int64_t rows, TensorUse use);

// NaN everywhere: what a kernel leaves unwritten shows.
void Poison(Tensor tensor);

// As bf16 holds them.
std::vector<float> Rounded(std::vector<float> values);

inline std::vector<float> RandomFloats(size_t count, uint32_t seed, float spread = 1.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// |out - expected| / |expected| over all values; NaN never passes.
inline void ExpectClose(std::span<const float> out, std::span<const float> expected,
                        double relative) {
  ASSERT_EQ(out.size(), expected.size());
  double error = 0.0, size = 0.0;
  for (size_t i = 0; i < out.size(); ++i) {
    error += std::pow(static_cast<double>(out[i]) - expected[i], 2.0);
    size += std::pow(static_cast<double>(expected[i]), 2.0);
  }
  EXPECT_TRUE(std::sqrt(error) <= relative * std::sqrt(size))
      << "relative error " << std::sqrt(error / size);
}

}  // namespace headgate
