// Matrix products against the CPU backend, the oracle, on the same bf16-rounded inputs: the kernels
// for up to 16 and up to 128 rows, and cuBLASLt.
#include "tests/kernel/cuda_rig.h"
#include "tests/kernel/poison_shared.h"
#include "worker/cpu/cpu_backend.h"
#include "worker/cuda/device/cuda_status.h"
#include "worker/cuda/device/launch.cuh"
#include "worker/cuda/matmul/medium_matmul.h"
#include "worker/cuda/weights/device_matrix.h"

namespace headgate {
namespace {

constexpr double kBf16Error = 4e-3;  // of one rounding to bf16: half a unit of 2^-8
constexpr double kSumError = 1e-4;

struct Shape {
  int64_t n;
  int64_t k;
};

// Rows of x: all that one kernel takes, and where another or another size of it begins.
constexpr int64_t kCounts[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14,
                               15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 95, 96, 97, 98};

class GpuMatMulTest : public testing::Test {
 protected:
  // w [n, k], x [rows, k] and a bias, on both devices.
  void Use(int64_t n, int64_t k, int64_t rows = kRows) {
    n_ = n;
    k_ = k;
    const auto values = Rounded(RandomFloats(static_cast<size_t>(n * k), 1, 0.02f));
    const HostRows matrix(
        {reinterpret_cast<const std::byte*>(values.data()), DType::kF32, n, k, k});
    w_gpu_ = gpu_->Pack(matrix, WeightFormat::kBF16).value();
    w_cpu_ = cpu_->Pack(matrix, WeightFormat::kF32).value();
    x_values_ = Rounded(RandomFloats(static_cast<size_t>(rows * k), 2));
    x_ = NewTensor(*gpu_, x_values_, rows, TensorUse::kOperand);
    bias_ = RandomFloats(static_cast<size_t>(n), 3);
    bias_gpu_ = gpu_->Upload(bias_).value();
    expected_.assign(static_cast<size_t>(rows * n), 0.0f);
    const Tensor x_host = {x_values_.data(), DType::kF32, rows, k};
    cpu_->MatMul(x_host, *w_cpu_, {}, {expected_.data(), DType::kF32, rows, n});
  }

  // The product of rows [first, first + m) of x.
  std::vector<float> Product(int64_t first, int64_t m, bool bias, TensorUse use) {
    Tensor x = x_.Rows(m);
    x.data = static_cast<std::byte*>(x_.data) + first * k_ * DTypeBytes(DType::kBF16);
    const Tensor out = gpu_->Allocate(m, n_, use).value();
    Poison(out);
    PoisonSharedMemory();
    gpu_->MatMul(x, *w_gpu_, bias ? bias_gpu_ : std::span<const float>(), out);
    return Get(out);
  }

  std::vector<float> Expected(int64_t m, bool bias) const {
    std::vector<float> expected(expected_.begin(), expected_.begin() + m * n_);
    for (size_t i = 0; bias && i < expected.size(); ++i) {
      expected[i] += bias_[i % static_cast<size_t>(n_)];
    }
    return expected;
  }

  void ExpectAgreement(const Shape& shape) {
    SCOPED_TRACE(testing::Message() << "n " << shape.n << ", k " << shape.k);
    Use(shape.n, shape.k);
    for (const int64_t m : kCounts) {
      SCOPED_TRACE(testing::Message() << "m " << m);
      for (const bool bias : {false, true}) {
        ExpectClose(Product(0, m, bias, TensorUse::kSum), Expected(m, bias), kSumError);
        ExpectClose(Product(0, m, bias, TensorUse::kOperand), Expected(m, bias), 2 * kBf16Error);
      }
    }
  }

  // By the kernel of more than 64 rows; from one of its sizes to the next a row keeps its bits.
  void ExpectAgreementBeyond64Rows(const Shape& shape) {
    if (ComputeCapabilityMajor() != 9) GTEST_SKIP() << "not a Hopper GPU";
    const MediumMatMul medium;
    Use(shape.n, shape.k, MediumMatMul::kRowsMax);
    std::vector<float> before;
    for (const int64_t m : {65, 95, 96, 97, 112, 127, 128}) {
      SCOPED_TRACE(testing::Message() << "n " << n_ << ", k " << k_ << ", m " << m);
      const Tensor out = gpu_->Allocate(m, n_, TensorUse::kSum).value();
      Poison(out);
      PoisonSharedMemory();
      MatMulCall call{.x = static_cast<const __nv_bfloat16*>(x_.data),
                      .w = static_cast<const DeviceMatrix&>(*w_gpu_).data(),
                      .bias = bias_gpu_.data(),
                      .out = out.data,
                      .out_dtype = DType::kF32,
                      .m = m,
                      .n = n_,
                      .k = k_};
      ASSERT_TRUE(medium.Run(call, nullptr));
      CudaCheck(cudaDeviceSynchronize(), "a product");
      const std::vector<float> got = Get(out);
      ExpectClose(got, Expected(m, true), kSumError);
      EXPECT_TRUE(std::equal(before.begin(), before.end(), got.begin())) << "not the same bits";
      before = got;
    }
  }

  static constexpr int64_t kRows = 98;
  std::unique_ptr<Backend> gpu_ = NewCudaBackend();
  std::unique_ptr<Backend> cpu_ = MakeCpuBackend({}).value();
  int64_t n_ = 0;
  int64_t k_ = 0;
  std::unique_ptr<PackedMatrix> w_gpu_;
  std::unique_ptr<PackedMatrix> w_cpu_;
  std::vector<float> x_values_;
  Tensor x_;
  std::vector<float> bias_;
  std::span<const float> bias_gpu_;
  std::vector<float> expected_;
};

// Rows beside a tile of 16, columns beside a step of 32, a cluster's blocks with columns each.
TEST_F(GpuMatMulTest, AgreesForSmallShapes) {
  for (const Shape& shape : {Shape{1, 8}, Shape{16, 32}, Shape{24, 24}, Shape{24, 20},
                             Shape{9, 520}, Shape{100, 1016}, Shape{104, 1016}, Shape{960, 576}}) {
    ExpectAgreement(shape);
  }
}

// More tiles than blocks, and k as large as models have.
TEST_F(GpuMatMulTest, AgreesForLargeShapes) {
  for (const Shape& shape :
       {Shape{4104, 64}, Shape{8200, 528}, Shape{12000, 2048}, Shape{20000, 1016},
        Shape{4100, 4096}, Shape{2504, 14336}, Shape{2501, 14336}, Shape{40, 28672}}) {
    ExpectAgreement(shape);
  }
}

TEST_F(GpuMatMulTest, AgreesByTheAlgorithmsThatWereTheFastest) {
  for (const Shape& shape : {Shape{24, 20}, Shape{104, 1016}, Shape{2501, 14336}}) {
    SCOPED_TRACE(testing::Message() << "n " << shape.n << ", k " << shape.k);
    Use(shape.n, shape.k);
    for (const TensorUse use : {TensorUse::kSum, TensorUse::kOperand}) {
      const Tensor out = gpu_->Allocate(kRows, shape.n, use).value();
      const Tensor x = gpu_->Allocate(kRows, shape.k, TensorUse::kOperand).value();
      for (int again = 0; again < 2; ++again) {
        ASSERT_TRUE(gpu_->PrepareMatMul(x, *w_gpu_, out).ok());
      }
      const double error = use == TensorUse::kSum ? kSumError : 2 * kBf16Error;
      for (const int64_t m : kCounts) {
        ExpectClose(Product(0, m, true, use), Expected(m, true), error);
      }
    }
  }
}

TEST_F(GpuMatMulTest, GivesARowTheSameBitsInEveryRunAndBatch) {
  // Rows that one kernel takes: for the smaller one x must fit beside w.
  const struct {
    Shape shape;
    int64_t least, most;
  } cases[] = {{{4100, 4096}, 1, 16},  {{2501, 14336}, 1, 4},   {{100, 1016}, 1, 16},
               {{4104, 4096}, 17, 64}, {{2504, 14336}, 17, 64}, {{104, 1016}, 17, 64},
               {{4104, 4096}, 65, 96}, {{104, 1016}, 65, 96}};
  for (const auto& [shape, least, most] : cases) {
    SCOPED_TRACE(testing::Message() << "n " << shape.n << ", k " << shape.k);
    Use(shape.n, shape.k);
    const auto all = Product(0, most, true, TensorUse::kSum);
    for (int run = 0; run < 20; ++run) EXPECT_EQ(all, Product(0, most, true, TensorUse::kSum));
    for (const int64_t m : {least, least + 2, std::max(least, most / 2), most - 1}) {
      for (const int64_t first : {int64_t{0}, most - m}) {
        const auto some = Product(first, m, true, TensorUse::kSum);
        EXPECT_TRUE(std::equal(some.begin(), some.end(), all.begin() + first * n_))
            << "rows " << first << " to " << first + m;
      }
    }
  }
}

TEST_F(GpuMatMulTest, AgreesBeyond64Rows) { ExpectAgreementBeyond64Rows({104, 14336}); }

// Several blocks that share tiles, and tiles of more than 128 rows.
TEST_F(GpuMatMulTest, AgreesBeyond64RowsOfLargeShapes) {
  ExpectAgreementBeyond64Rows({2504, 14336});
  ExpectAgreementBeyond64Rows({20000, 4096});
}

TEST(MediumMatMulTest, TakesWhatItSays) {
  if (ComputeCapabilityMajor() != 9) GTEST_SKIP() << "not a Hopper GPU";
  const MediumMatMul medium;
  const auto takes = [&](int64_t m, int64_t n, int64_t k, bool gated) {
    return medium.Takes({.m = m, .n = n, .k = k, .gated = gated});
  };
  EXPECT_TRUE(takes(1, 8, 8, false));
  EXPECT_TRUE(takes(64, 128256, 4096, false));
  EXPECT_TRUE(takes(64, 28672, 4096, true));
  EXPECT_TRUE(takes(96, 4096, 4096, false));
  EXPECT_FALSE(takes(97, 4096, 4096, false));
  EXPECT_TRUE(takes(128, 28672, 4096, true));
  EXPECT_TRUE(takes(128, 4096, 14336, false));
  EXPECT_FALSE(takes(129, 4096, 14336, false));
  EXPECT_FALSE(takes(64, 4100, 4096, false));
  EXPECT_FALSE(takes(64, 4104, 4096, true));
  EXPECT_FALSE(takes(64, 4096, 4100, false));
  EXPECT_FALSE(takes(0, 4096, 4096, false));
  EXPECT_FALSE(takes(64, 0, 4096, false));
  EXPECT_FALSE(takes(64, 4096, 0, false));
  const auto rows_max = [&](int64_t n, int64_t k) {
    return medium.RowsMax({.m = 1, .n = n, .k = k});
  };
  EXPECT_EQ(rows_max(28672, 4096), 128);
  EXPECT_EQ(rows_max(128256, 4096), 96);
  EXPECT_EQ(rows_max(4096, 4096), 96);
  EXPECT_EQ(rows_max(4096, 4100), 0);
}

TEST_F(GpuMatMulTest, LeavesNothingForAnEmptyProduct) {
  Use(16, 32);
  EXPECT_TRUE(Product(0, 0, true, TensorUse::kSum).empty());
}

}  // namespace
}  // namespace headgate
