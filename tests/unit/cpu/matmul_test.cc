// MatMul, Pack and Embed at every instruction-set level.
#include <algorithm>

#include "gmock/gmock.h"
#include "tests/unit/cpu/cpu_test_data.h"

namespace headgate {
namespace {

constexpr WeightFormat kFormats[] = {WeightFormat::kF32, WeightFormat::kBF16, WeightFormat::kInt8,
                                     WeightFormat::kInt4};

struct Shape {
  int64_t rows, inputs, outputs;
};

std::vector<float> Product(Backend& backend, std::vector<float> x, int64_t rows,
                           const PackedMatrix& w, std::span<const float> bias = {}) {
  std::vector<float> out(static_cast<size_t>(rows * w.outputs()), -7.0f);
  Tensor to{out.data(), DType::kF32, rows, w.outputs()};
  backend.MatMul({x.data(), DType::kF32, rows, w.inputs()}, w, bias, to);
  return out;
}

class MatMulTest : public testing::TestWithParam<IsaLevel> {};
INSTANTIATE_TEST_SUITE_P(Levels, MatMulTest, testing::ValuesIn(LevelsHere()), LevelName);

TEST_P(MatMulTest, AgreesWithDoublePrecision) {
  const auto backend = NewBackend(GetParam());
  const Shape shapes[] = {{1, 32, 16},  {3, 64, 24},   {2, 192, 40},   {17, 384, 72},
                          {5, 576, 33}, {33, 1536, 9}, {1, 576, 1000}, {16, 288, 128}};
  for (const Shape& s : shapes) {
    const auto weights = RandomFloats(static_cast<size_t>(s.inputs * s.outputs), 1, 0.05f);
    const auto x = RandomFloats(static_cast<size_t>(s.rows * s.inputs), 2);
    const auto bias = RandomFloats(static_cast<size_t>(s.outputs), 3);
    for (WeightFormat format : kFormats) {
      const auto packed = backend->Pack(MatrixOf(weights, s.outputs, s.inputs), format).value();
      const auto w = Unpack(*backend, *packed);
      const auto out = Product(*backend, x, s.rows, *packed, bias);
      for (int64_t r = 0; r < s.rows; ++r) {
        for (int64_t n = 0; n < s.outputs; ++n) {
          double sum = 0.0, size = 0.0;
          for (int64_t k = 0; k < s.inputs; ++k) {
            const double p = static_cast<double>(x[r * s.inputs + k]) * w[n * s.inputs + k];
            sum += p;
            size += std::abs(p);
          }
          EXPECT_NEAR(out[r * s.outputs + n], sum + bias[n], 1e-5 * size + 1e-6)
              << "format " << static_cast<int>(format) << " at " << r << ", " << n;
        }
      }
    }
  }
}

TEST_P(MatMulTest, OddInputsInFp32AndBf16) {
  const auto backend = NewBackend(GetParam());
  for (int64_t inputs : {1, 7, 33, 172}) {
    const auto weights = RandomFloats(static_cast<size_t>(inputs * 20), 1);
    const auto x = RandomFloats(static_cast<size_t>(inputs * 3), 2);
    for (WeightFormat format : {WeightFormat::kF32, WeightFormat::kBF16}) {
      const auto packed = backend->Pack(MatrixOf(weights, 20, inputs), format).value();
      const auto w = Unpack(*backend, *packed);
      const auto out = Product(*backend, x, 3, *packed);
      for (int64_t i = 0; i < 60; ++i) {
        double sum = 0.0;
        for (int64_t k = 0; k < inputs; ++k) sum += x[i / 20 * inputs + k] * w[i % 20 * inputs + k];
        EXPECT_NEAR(out[i], sum, 1e-4) << inputs;
      }
    }
  }
}

// The promise of cpu_backend.h: a row's bits do not depend on the batch, its place or the threads.
TEST_P(MatMulTest, RowIsTheSameInEveryBatch) {
  const auto one = NewBackend(GetParam(), 1);
  const auto three = NewBackend(GetParam(), 3);
  constexpr int64_t kInputs = 576, kOutputs = 200, kRows = 37;
  const auto weights = RandomFloats(kInputs * kOutputs, 1, 0.05f);
  const auto x = RandomFloats(kInputs * kRows, 2);
  for (WeightFormat format : kFormats) {
    const auto packed = one->Pack(MatrixOf(weights, kOutputs, kInputs), format).value();
    const auto all = Product(*one, x, kRows, *packed);
    EXPECT_TRUE(SameBits(all, Product(*three, x, kRows, *packed)));
    for (int64_t rows : {1, 2, 3, 4, 8, 15, 16, 20}) {
      for (int64_t first = 0; first + rows <= kRows; first += rows) {
        const std::vector<float> part(x.begin() + first * kInputs,
                                      x.begin() + (first + rows) * kInputs);
        const auto out = Product(*three, part, rows, *packed);
        EXPECT_TRUE(SameBits(out, std::span(all).subspan(first * kOutputs, rows * kOutputs)))
            << "format " << static_cast<int>(format) << ", " << rows << " rows from " << first;
      }
    }
  }
}

TEST_P(MatMulTest, NanStaysInItsRow) {
  const auto backend = NewBackend(GetParam());
  constexpr int64_t kInputs = 64, kOutputs = 48;
  const auto weights = RandomFloats(kInputs * kOutputs, 1);
  auto x = RandomFloats(kInputs * 20, 2);
  const auto clean = x;
  x[5 * kInputs + 9] = NAN;
  for (WeightFormat format : kFormats) {
    const auto packed = backend->Pack(MatrixOf(weights, kOutputs, kInputs), format).value();
    const auto out = Product(*backend, x, 20, *packed);
    const auto expected = Product(*backend, clean, 20, *packed);
    for (int64_t i = 0; i < 20 * kOutputs; ++i) {
      if (i / kOutputs == 5) {
        EXPECT_TRUE(std::isnan(out[i]));
      } else {
        EXPECT_EQ(out[i], expected[i]);
      }
    }
  }
}

TEST_P(MatMulTest, NoRowsWritesNothing) {
  const auto backend = NewBackend(GetParam());
  const auto weights = RandomFloats(32 * 16, 1);
  const auto packed = backend->Pack(MatrixOf(weights, 16, 32), WeightFormat::kInt4).value();
  backend->MatMul({nullptr, DType::kF32, 0, 32}, *packed, {}, {nullptr, DType::kF32, 0, 16});
  const Batch none;
  backend->BeginStep(none, 0);
  backend->Embed(*packed, {nullptr, DType::kF32, 0, 32});
}

TEST(MatMulLevelsTest, LevelsBelowAmxAgreeBitByBit) {
  constexpr int64_t kInputs = 192, kOutputs = 100, kRows = 7;
  const auto weights = RandomFloats(kInputs * kOutputs, 1, 0.05f);
  const auto x = RandomFloats(kInputs * kRows, 2);
  for (WeightFormat format : kFormats) {
    std::vector<float> first;
    for (IsaLevel level : LevelsHere()) {
      if (level == IsaLevel::kAmx && format != WeightFormat::kF32) continue;
      const auto backend = NewBackend(level);
      const auto packed = backend->Pack(MatrixOf(weights, kOutputs, kInputs), format).value();
      const auto out = Product(*backend, x, kRows, *packed);
      if (first.empty()) first = out;
      EXPECT_TRUE(SameBits(first, out)) << IsaName(level);
    }
  }
}

TEST(PackTest, RefusesWhatDoesNotFit) {
  const auto backend = NewBackend(IsaLevel::kScalar);
  auto weights = RandomFloats(48 * 4, 1);
  EXPECT_EQ(backend->Pack(MatrixOf(weights, 4, 48), WeightFormat::kInt4).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(backend->Pack(MatrixOf(weights, 0, 48), WeightFormat::kF32).status().code(),
            absl::StatusCode::kInvalidArgument);
  for (float bad : {NAN, INFINITY, 1e9f}) {
    weights[40] = bad;
    EXPECT_FALSE(backend->Pack(MatrixOf(weights, 6, 32), WeightFormat::kInt4).ok()) << bad;
    EXPECT_FALSE(backend->Pack(MatrixOf(weights, 6, 32), WeightFormat::kInt8).ok()) << bad;
  }
}

TEST(PackTest, ReadsStridedHalfFormats) {
  const auto backend = NewBackend(IsaLevel::kScalar);
  const auto values = RandomFloats(6 * 40, 1);
  for (DType dtype : {DType::kF16, DType::kBF16}) {
    std::vector<uint16_t> stored;
    for (float v : values) stored.push_back(dtype == DType::kF16 ? FloatToF16(v) : FloatToBf16(v));
    // Columns 4..35 of a [6, 40] matrix.
    const HostRows slice({reinterpret_cast<const std::byte*>(stored.data() + 4), dtype, 6, 32, 40});
    const auto packed = backend->Pack(slice, WeightFormat::kAsStored).value();
    const auto w = Unpack(*backend, *packed);
    for (int64_t i = 0; i < 6 * 32; ++i) {
      const uint16_t bits = stored[i / 32 * 40 + 4 + i % 32];
      const float exact = dtype == DType::kF16 ? F16ToFloat(bits) : Bf16ToFloat(bits);
      EXPECT_EQ(w[i], Bf16ToFloat(FloatToBf16(exact)));
    }
  }
}

TEST(PackTest, FiveBitsAWeight) {
  const auto backend = NewBackend(IsaLevel::kScalar);
  const auto weights = RandomFloats(576 * 320, 1);
  EXPECT_EQ(backend->Pack(MatrixOf(weights, 320, 576), WeightFormat::kInt4).value()->bytes(),
            576 * 320 * 5 / 8);
}

}  // namespace
}  // namespace headgate
