// Norms, rope, activation, additions and gathers against double precision, at every level.
#include <cmath>

#include "tests/unit/cpu/cpu_test_data.h"
#include "worker/cpu/kernel_table.h"
#include "worker/cpu/rope_table.h"

namespace headgate {
namespace {

class RowOpsTest : public testing::TestWithParam<IsaLevel> {};
INSTANTIATE_TEST_SUITE_P(Levels, RowOpsTest, testing::ValuesIn(LevelsHere()), LevelName);

TEST_P(RowOpsTest, RmsNormAndSumAddRmsNorm) {
  const auto backend = NewBackend(GetParam());
  for (int64_t cols : {1, 8, 15, 64, 100, 576}) {
    for (int64_t rows : {0, 1, 3, 40}) {
      auto x = RandomFloats(static_cast<size_t>(rows * cols), 1);
      auto delta = RandomFloats(static_cast<size_t>(rows * cols), 2);
      const auto weight = RandomFloats(static_cast<size_t>(cols), 3);
      std::vector<float> out(x.size());
      const auto before = x;
      const auto tensor = [&](std::vector<float>& v) {
        return Tensor{v.data(), DType::kF32, rows, cols};
      };
      for (bool add : {false, true}) {
        if (add) {
          EXPECT_TRUE(
              backend->SumAddRmsNorm(tensor(x), tensor(delta), weight, 1e-5f, tensor(out)).ok());
        } else {
          backend->RmsNorm(tensor(x), weight, 1e-5f, tensor(out));
        }
        for (int64_t r = 0; r < rows; ++r) {
          double squares = 0.0;
          for (int64_t c = 0; c < cols; ++c) {
            const float v = before[r * cols + c] + (add ? delta[r * cols + c] : 0.0f);
            EXPECT_EQ(x[r * cols + c], v);
            squares += static_cast<double>(v) * v;
          }
          const double factor = 1.0 / std::sqrt(squares / static_cast<double>(cols) + 1e-5);
          for (int64_t c = 0; c < cols; ++c) {
            EXPECT_NEAR(out[r * cols + c], x[r * cols + c] * factor * weight[c], 3e-6);
          }
        }
      }
    }
  }
}

TEST_P(RowOpsTest, HeadNormTouchesItsColumnsOnly) {
  const auto backend = NewBackend(GetParam());
  for (int64_t dim : {8, 64, 96}) {
    const int64_t cols = 5 + 3 * dim + 2;
    auto x = RandomFloats(static_cast<size_t>(2 * cols), 1);
    const auto before = x;
    const auto weight = RandomFloats(static_cast<size_t>(dim), 3);
    backend->HeadNorm(View(x, 2), 5, 3, weight, 1e-6f);
    for (int64_t i = 0; i < 2 * cols; ++i) {
      const int64_t c = i % cols - 5;
      if (c < 0 || c >= 3 * dim) {
        EXPECT_EQ(x[i], before[i]);
        continue;
      }
      double squares = 0.0;
      for (int64_t d = 0; d < dim; ++d) squares += std::pow(before[i - c % dim + d], 2.0);
      const double factor = 1.0 / std::sqrt(squares / static_cast<double>(dim) + 1e-6);
      EXPECT_NEAR(x[i], before[i] * factor * weight[c % dim], 3e-6);
    }
  }
}

TEST_P(RowOpsTest, RopeRotatesHalves) {
  const KernelTable kernels = KernelsFor(GetParam());
  ThreadPool pool(2);
  RopeTable table;
  for (int64_t half : {4, 32, 48}) {
    std::vector<float> inv_freq;
    for (int64_t i = 0; i < half; ++i) {
      inv_freq.push_back(std::pow(1e4f, -static_cast<float>(i) / static_cast<float>(half)));
    }
    const std::vector<int32_t> positions = {0, 1, 77, 8191};
    table.Fill(positions, inv_freq, pool);
    auto x = RandomFloats(static_cast<size_t>(4 * (2 * half + 1)), 1);
    const auto before = x;
    for (int64_t r = 0; r < 4; ++r) {
      const int64_t head = r * (2 * half + 1);
      kernels.rope(x.data() + head, table.cosine(r), table.sine(r), half);
      for (int64_t i = 0; i < half; ++i) {
        const float turn = static_cast<float>(positions[r]) * inv_freq[i];
        const double angle = turn;
        const double a = before[head + i], b = before[head + i + half];
        EXPECT_NEAR(x[head + i], a * std::cos(angle) - b * std::sin(angle), 2e-6);
        EXPECT_NEAR(x[head + i + half], b * std::cos(angle) + a * std::sin(angle), 2e-6);
      }
      EXPECT_EQ(x[head + 2 * half], before[head + 2 * half]);  // beside the head
    }
  }
}

TEST(RopeTableTest, FollowsItsArguments) {
  ThreadPool pool(1);
  RopeTable table;
  const auto filled = [&](int32_t position, float last) {
    table.Fill(std::vector<int32_t>{position}, std::vector<float>{1.0f, 0.1f, 0.2f, last}, pool);
    return std::vector<float>(table.cosine(0), table.cosine(0) + 8);
  };
  const auto x = filled(5, 0.3f), y = filled(6, 0.3f), z = filled(6, 0.4f);
  EXPECT_FALSE(SameBits(x, y));
  EXPECT_FALSE(SameBits(y, z));
}

TEST_P(RowOpsTest, SiluMul) {
  const KernelTable kernels = KernelsFor(GetParam());
  for (int64_t cols : {1, 17, 172, 1536}) {
    auto gate = RandomFloats(static_cast<size_t>(cols), 1, 8.0f);
    const auto up = RandomFloats(static_cast<size_t>(cols), 2, 8.0f);
    gate.front() = -200.0f;
    gate.back() = 200.0f;
    std::vector<float> out(gate.size());
    kernels.silu_mul(gate.data(), up.data(), out.data(), cols);
    for (size_t i = 0; i < gate.size(); ++i) {
      const double x = gate[i];
      const double expected = x / (1.0 + std::exp(-x)) * up[i];
      EXPECT_NEAR(out[i], expected, 1e-6 * std::abs(expected) + 1e-30);
    }
  }
}

TEST_P(RowOpsTest, AddAndGather) {
  const auto backend = NewBackend(GetParam());
  auto x = RandomFloats(5 * 37, 1);
  auto delta = RandomFloats(5 * 37, 2);
  const auto before = x;
  Batch batch = BatchOf({}, {0, 1, 2, 3, 4});
  batch.outputs = {3, 4, 0, 4};
  backend->BeginStep(batch, batch.rows());
  EXPECT_TRUE(backend->SumAdd(View(x, 5), View(delta, 5)).ok());
  for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(x[i], before[i] + delta[i]);
  std::vector<float> out(3 * 37);
  backend->GatherOutputs(View(x, 5), 1, View(out, 3));
  for (size_t i = 0; i < 37; ++i) {
    EXPECT_EQ(out[i], x[4 * 37 + i]);
    EXPECT_EQ(out[37 + i], x[i]);
    EXPECT_EQ(out[2 * 37 + i], x[4 * 37 + i]);
  }
}

TEST_P(RowOpsTest, SameBitsAsScalar) {
  const auto backend = NewBackend(GetParam());
  const auto scalar = NewBackend(IsaLevel::kScalar, 1);
  auto x = RandomFloats(6 * 200, 1, 3.0f);
  const auto weight = RandomFloats(200, 2);
  std::vector<float> a(6 * 200), b(6 * 200), c(6 * 100), d(6 * 100);
  backend->RmsNorm(View(x, 6), weight, 1e-5f, View(a, 6));
  scalar->RmsNorm(View(x, 6), weight, 1e-5f, View(b, 6));
  EXPECT_TRUE(SameBits(a, b));
  KernelsFor(GetParam()).silu_mul(x.data(), x.data() + 600, c.data(), 600);
  KernelsFor(IsaLevel::kScalar).silu_mul(x.data(), x.data() + 600, d.data(), 600);
  EXPECT_TRUE(SameBits(c, d));
}

TEST(CpuBackendTest, OptionsAreChecked) {
  EXPECT_EQ(MakeCpuBackend({.threads = -1}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(MakeCpuBackend({.threads = 1 << 20}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(MakeCpuBackend({.threads = 1, .isa_max = IsaLevel::kScalar}).value()->Describe(),
            "cpu, scalar, 1 thread");
  EXPECT_EQ(NewBackend(IsaLevel::kScalar)->Allocate(-1, 4, TensorUse::kSum).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(IsaTest, NamesRoundTrip) {
  for (IsaLevel level : {IsaLevel::kScalar, IsaLevel::kAvx2, IsaLevel::kAvx512, IsaLevel::kAmx}) {
    EXPECT_EQ(IsaFromName(IsaName(level)).value(), level);
  }
  EXPECT_FALSE(IsaFromName("sse").ok());
  EXPECT_EQ(DetectIsa(IsaLevel::kScalar), IsaLevel::kScalar);
}

}  // namespace
}  // namespace headgate
