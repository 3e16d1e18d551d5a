// Products with a gate behind them: against the two steps one by one, bit for bit, and against the
// host.
#include <cuda_runtime.h>

#include <bit>

#include "tests/kernel/cuda_rig.h"
#include "worker/cuda/device/cuda_status.h"
#include "worker/cuda/device/device_buffer.h"
#include "worker/cuda/device/launch.cuh"
#include "worker/cuda/matmul/matmul.h"
#include "worker/cuda/rows/row_ops.h"

namespace headgate {
namespace {

using bf16 = __nv_bfloat16;

constexpr double kBf16Error = 4e-3;  // of one rounding to bf16: half a unit of 2^-8

struct Shape {
  int64_t n;
  int64_t k;
};

float FromBf16(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

class GpuGatedMatMulTest : public testing::Test {
 protected:
  static constexpr int64_t kRowsMax = MediumMatMul::kRowsMax;

  CudaBuffer Device(int64_t bytes) {
    CudaBuffer buffer =
        CudaBuffer::Create(MemoryPlace::kDevice, std::max<int64_t>(bytes, 16)).value();
    CudaCheck(cudaMemset(buffer.data(), 0xff, static_cast<size_t>(buffer.bytes())), "NaN");
    return buffer;
  }
  CudaBuffer Floats(const std::vector<float>& values) {
    CudaBuffer buffer = Device(static_cast<int64_t>(values.size()) * 4);
    CudaCheck(cudaMemcpy(buffer.data(), values.data(), values.size() * 4, cudaMemcpyHostToDevice),
              "upload");
    return buffer;
  }
  CudaBuffer Narrow(const std::vector<float>& rounded) {
    std::vector<uint16_t> bits;
    for (const float value : rounded) {
      bits.push_back(static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16));
    }
    CudaBuffer buffer = Device(static_cast<int64_t>(bits.size()) * 2);
    CudaCheck(cudaMemcpy(buffer.data(), bits.data(), bits.size() * 2, cudaMemcpyHostToDevice),
              "upload");
    return buffer;
  }
  template <typename T>
  std::vector<T> Read(const CudaBuffer& buffer, int64_t count) {
    CudaCheck(cudaDeviceSynchronize(), "a product");
    std::vector<T> values(static_cast<size_t>(count));
    CudaCheck(
        cudaMemcpy(values.data(), buffer.data(), values.size() * sizeof(T), cudaMemcpyDeviceToHost),
        "read");
    return values;
  }

  void Use(const Shape& shape) {
    n_ = shape.n;
    k_ = shape.k;
    w_values_ = Rounded(RandomFloats(static_cast<size_t>(n_ * k_), 1, 0.05f));
    x_values_ = Rounded(RandomFloats(static_cast<size_t>(kRowsMax * k_), 2));
    bias_values_ = RandomFloats(static_cast<size_t>(n_), 3);
    w_ = Narrow(w_values_);
    x_ = Narrow(x_values_);
    bias_ = Floats(bias_values_);
  }

  MatMulCall Call(int64_t m, const CudaBuffer& out, DType dtype) const {
    MatMulCall call;
    call.x = x_.as<const bf16>();
    call.w = w_.as<const bf16>();
    call.bias = bias_.as<const float>();
    call.out = out.data();
    call.out_dtype = dtype;
    call.m = m;
    call.n = n_;
    call.k = k_;
    return call;
  }

  float Dot(const float* x, int64_t row) const {
    double sum = bias_values_[static_cast<size_t>(row)];
    for (int64_t i = 0; i < k_; ++i) {
      sum += static_cast<double>(x[i]) * w_values_[static_cast<size_t>(row * k_ + i)];
    }
    return static_cast<float>(sum);
  }

  void ExpectGated(const Shape& shape, const std::vector<int64_t>& rows) {
    Use(shape);
    const int64_t inner = n_ / 2;
    for (const int64_t m : rows) {
      SCOPED_TRACE(testing::Message() << "n " << n_ << ", k " << k_ << ", m " << m);
      const CudaBuffer apart = Device(m * n_ * 2), scratch = Device(m * n_ * 2);
      const CudaBuffer expected = Device(m * inner * 2), out = Device(m * inner * 2);
      products_->Run(Call(m, apart, DType::kBF16), nullptr);
      LaunchSiluMul(apart.as<const bf16>(), m, inner, expected.as<bf16>(), nullptr);
      MatMulCall call = Call(m, out, DType::kBF16);
      call.gated = true;
      call.scratch = scratch.as<bf16>();
      products_->Run(call, nullptr);
      const auto bits = Read<uint16_t>(out, m * inner);
      EXPECT_EQ(bits, Read<uint16_t>(expected, m * inner));
      if (m != 3 && m != 40) continue;  // the host takes its time
      std::vector<float> got, oracle;
      for (const uint16_t value : bits) got.push_back(FromBf16(value));
      for (int64_t r = 0; r < m; ++r) {
        for (int64_t i = 0; i < inner; ++i) {
          const float gate = Dot(x_values_.data() + r * k_, i);
          oracle.push_back(gate / (1.0f + std::exp(-gate)) *
                           Dot(x_values_.data() + r * k_, inner + i));
        }
      }
      ExpectClose(got, oracle, 3 * kBf16Error);
    }
  }

  // Where else cuBLASLt would be compared with itself.
  void ExpectGatedByMedium(const Shape& shape, const std::vector<int64_t>& rows) {
    if (ComputeCapabilityMajor() != 9) GTEST_SKIP() << "not a Hopper GPU";
    for (const int64_t m : rows) {
      ASSERT_TRUE(MediumMatMul().Takes({.m = m, .n = shape.n, .k = shape.k, .gated = true})) << m;
    }
    ExpectGated(shape, rows);
  }

  const std::unique_ptr<MatrixProducts> products_ = MatrixProducts::Create().value();
  int64_t n_ = 0;
  int64_t k_ = 0;
  std::vector<float> w_values_, x_values_, bias_values_;
  CudaBuffer w_, x_, bias_;
};

// Beside a tile of 8 gates, beside a step of 32 columns, more tiles than blocks, a k of real
// models.
TEST_F(GpuGatedMatMulTest, GatesAsSiluMulDoes) {
  for (const Shape& shape : {Shape{2, 8}, Shape{14, 24}, Shape{16, 40}, Shape{34, 520},
                             Shape{200, 1016}, Shape{3072, 576}, Shape{8600, 64}}) {
    ExpectGated(shape, {1, 2, 3, 4, 7, 8, 9, 15, 16});
  }
  ExpectGated({26, 14336}, {1, 3, 4});
}

// Half a tile, several blocks that share a tile, and more tiles than blocks.
TEST_F(GpuGatedMatMulTest, GatesMoreRowsAsSiluMulDoes) {
  for (const Shape& shape : {Shape{16, 40}, Shape{208, 1016}, Shape{3072, 576}, Shape{40000, 64}}) {
    ExpectGated(shape, {17, 32, 33, 40, 64, 65, 96});
  }
  ExpectGated({48, 14336}, {5, 16, 64});
}

TEST_F(GpuGatedMatMulTest, GatesBeyond96RowsOfLongProducts) {
  ExpectGatedByMedium({48, 14336}, {65, 96, 97, 128});
}

// Tiles of more than 128 rows.
TEST_F(GpuGatedMatMulTest, GatesBeyond96RowsOfLargeShapes) {
  ExpectGatedByMedium({20000, 4096}, {65, 97, 128});
}

// Rows and columns that cuBLASLt multiplies.
TEST_F(GpuGatedMatMulTest, OthersAreDoneInParts) {
  ExpectGated({14, 24}, {17, 40, 65});
  ExpectGated({3072, 576}, {97});
  ExpectGated({26, 14336}, {16});
  ExpectGated({48, 20}, {1, 3, 16});
}

}  // namespace
}  // namespace headgate
