// What the CPU backend's tests share: levels to run, random data, matrices, plain references.
#pragma once

#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "worker/backend.h"
#include "worker/cpu/cpu_backend.h"
#include "worker/cpu/float_formats.h"
#include "worker/cpu/isa.h"

namespace headgate {

// Every level that this machine runs.
inline std::vector<IsaLevel> LevelsHere() {
  std::vector<IsaLevel> levels;
  for (IsaLevel level : {IsaLevel::kScalar, IsaLevel::kAvx2, IsaLevel::kAvx512, IsaLevel::kAmx}) {
    if (DetectIsa(level) == level) levels.push_back(level);
  }
  return levels;
}

inline std::unique_ptr<Backend> NewBackend(IsaLevel level, int threads = 2) {
  return MakeCpuBackend({.threads = threads, .isa_max = level}).value();
}

inline std::string LevelName(const testing::TestParamInfo<IsaLevel>& info) {
  return std::string(IsaName(info.param));
}

inline std::vector<float> RandomFloats(size_t count, uint32_t seed, float spread = 1.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

inline Tensor View(std::vector<float>& values, int64_t rows) {
  return {values.data(), DType::kF32, rows,
          rows == 0 ? 0 : static_cast<int64_t>(values.size()) / rows};
}

inline HostRows MatrixOf(const std::vector<float>& values, int64_t rows, int64_t cols) {
  return HostRows(
      {reinterpret_cast<const std::byte*>(values.data()), DType::kF32, rows, cols, cols});
}

inline Batch BatchOf(std::vector<TokenId> tokens, std::vector<int32_t> positions = {}) {
  return {std::move(tokens), std::move(positions), {}, {}};
}

// Weights as the backend holds them, by embedding every row.
inline std::vector<float> Unpack(Backend& backend, const PackedMatrix& matrix) {
  std::vector<TokenId> tokens;
  for (int64_t i = 0; i < matrix.outputs(); ++i) tokens.push_back(static_cast<TokenId>(i));
  std::vector<float> values(static_cast<size_t>(matrix.outputs() * matrix.inputs()));
  const Batch batch = BatchOf(std::move(tokens));
  backend.BeginStep(batch, batch.rows());
  backend.Embed(matrix, View(values, matrix.outputs()));
  return values;
}

inline bool SameBits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

}  // namespace headgate
