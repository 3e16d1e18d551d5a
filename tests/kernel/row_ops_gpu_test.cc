// Every row operation against the CPU backend, the oracle, on the same
// bf16-rounded inputs.
#include "tests/kernel/cuda_rig.h"
#include "worker/cpu/cpu_backend.h"
#include "worker/cpu/kernel_table.h"
#include "worker/cpu/rope_table.h"
#include "worker/cuda/device/cuda_status.h"
#include "worker/cuda/device/device_buffer.h"
#include "worker/cuda/rows/row_ops.h"

namespace headgate {
namespace {

constexpr double kBf16Error = 4e-3;  // of one rounding to bf16: half a unit of 2^-8
constexpr double kSumError = 1e-6;

class GpuRowOpsTest : public testing::Test {
 protected:
  // The same values as a device tensor and as a host one.
  struct Pair {
    Tensor device;
    std::vector<float> values;
    Tensor host;
  };
  Pair Make(int64_t rows, int64_t cols, uint32_t seed, TensorUse use) {
    Pair pair;
    pair.values = RandomFloats(static_cast<size_t>(rows * cols), seed);
    if (use == TensorUse::kOperand) pair.values = Rounded(std::move(pair.values));
    pair.device = NewTensor(*gpu_, pair.values, rows, use);
    pair.host = {pair.values.data(), DType::kF32, rows, cols};
    return pair;
  }
  std::span<const float> OnDevice(const std::vector<float>& values) {
    return gpu_->Upload(values).value();
  }
  void Begin(const Batch& batch) {
    gpu_->BeginStep(batch, batch.rows());
    cpu_->BeginStep(batch, batch.rows());
  }

  // Heads 1 to `heads` of every row.
  void Rotate(Tensor x, std::span<const int32_t> positions, int64_t dim, int64_t heads,
              const std::vector<float>& inv_freq) {
    const auto bytes = static_cast<int64_t>(positions.size_bytes());
    const CudaBuffer on_device = CudaBuffer::Create(MemoryPlace::kDevice, bytes).value();
    CudaCheck(cudaMemcpy(on_device.data(), positions.data(), positions.size_bytes(),
                         cudaMemcpyHostToDevice),
              "positions");
    StepView step;
    step.positions = on_device.as<const int32_t>();
    step.rows = static_cast<int32_t>(positions.size());
    LaunchRope(step, static_cast<__nv_bfloat16*>(x.data) + dim, x.cols, heads, dim,
               OnDevice(inv_freq).data(), nullptr);
    CudaCheck(cudaDeviceSynchronize(), "rotating");
  }

  // x has 17 rows.
  void ExpectGathers(Tensor x, TensorUse use) {
    const auto picked = Make(3, x.cols, 4, use).device;
    Poison(picked);
    const std::vector<size_t> rows = {16, 0, 16};
    Batch batch;
    batch.outputs = {5, 16, 0, 16};
    Begin(batch);
    gpu_->GatherOutputs(x, 1, picked);
    const auto got = Get(picked), from = Get(x);
    const auto width = static_cast<size_t>(x.cols);
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i], from[rows[i / width] * width + i % width]);
    }
  }

  // Not a bit of a row's first and last `dim` columns differs.
  static void ExpectSameBeside(const std::vector<float>& got, const std::vector<float>& before,
                               int64_t dim, int64_t cols) {
    ASSERT_EQ(got.size(), before.size());
    for (size_t i = 0; i < got.size(); ++i) {
      const auto column = static_cast<int64_t>(i) % cols;
      if (column < dim || column >= cols - dim) {
        ASSERT_EQ(got[i], before[i]) << "column " << column;
      }
    }
  }

  std::unique_ptr<Backend> gpu_ = NewCudaBackend();
  std::unique_ptr<Backend> cpu_ = MakeCpuBackend({}).value();
};

TEST_F(GpuRowOpsTest, EmbedCopiesRows) {
  for (const size_t cols : {96, 90}) {
    const auto table = Rounded(RandomFloats(100 * cols, 1));
    const auto width = static_cast<int64_t>(cols);
    const HostRows matrix(
        {reinterpret_cast<const std::byte*>(table.data()), DType::kF32, 100, width, width});
    const auto packed = gpu_->Pack(matrix, WeightFormat::kBF16).value();
    const Batch batch{{0, 99, 7, 7}, {0, 1, 2, 3}, {}, {}};
    Begin(batch);
    const Tensor out = gpu_->Allocate(4, width, TensorUse::kSum).value();
    Poison(out);
    gpu_->Embed(*packed, out);
    const auto got = Get(out);
    for (size_t r = 0; r < 4; ++r) {
      for (size_t c = 0; c < cols; ++c) {
        EXPECT_EQ(got[r * cols + c], table[static_cast<size_t>(batch.tokens[r]) * cols + c]);
      }
    }
  }
}

TEST_F(GpuRowOpsTest, NormsAgree) {
  for (const int64_t cols : {1, 8, 60, 64, 576, 4096, 8192, 8200}) {
    for (const int64_t rows : {1, 3, 130}) {
      auto x = Make(rows, cols, 1, TensorUse::kSum);
      auto delta = Make(rows, cols, 2, TensorUse::kOperand);
      auto out = Make(rows, cols, 3, TensorUse::kOperand);
      const auto weight = RandomFloats(static_cast<size_t>(cols), 4);
      const auto on_device = OnDevice(weight);
      Poison(out.device);
      gpu_->RmsNorm(x.device, on_device, 1e-5f, out.device);
      cpu_->RmsNorm(x.host, weight, 1e-5f, out.host);
      ExpectClose(Get(out.device), out.values, kBf16Error);
      Poison(out.device);
      EXPECT_TRUE(gpu_->SumAddRmsNorm(x.device, delta.device, on_device, 1e-5f, out.device).ok());
      EXPECT_TRUE(cpu_->SumAddRmsNorm(x.host, delta.host, weight, 1e-5f, out.host).ok());
      ExpectClose(Get(x.device), x.values, kSumError);
      ExpectClose(Get(out.device), out.values, kBf16Error);
    }
  }
}

// One head lies on either side of those that are worked on. 3 heads are less than a block takes at
// once, 40 and 41 are several rounds of it, the last one full or not.
TEST_F(GpuRowOpsTest, HeadNormAndRopeTouchTheirColumnsOnly) {
  for (const int64_t heads : {1, 3, 40, 41}) {
    for (const int64_t dim : {8, 20, 64, 96, 128, 256}) {
      SCOPED_TRACE(testing::Message() << heads << " heads of " << dim);
      const int64_t cols = (heads + 2) * dim;
      auto x = Make(5, cols, 1, TensorUse::kOperand);
      const std::vector<float> before = x.values;
      const auto weight = RandomFloats(static_cast<size_t>(dim), 2);
      gpu_->HeadNorm(x.device, dim, heads, OnDevice(weight), 1e-6f);
      cpu_->HeadNorm(x.host, dim, heads, weight, 1e-6f);
      ExpectClose(Get(x.device), x.values, kBf16Error);
      ExpectSameBeside(Get(x.device), before, dim, cols);

      x.values = before;
      Put(x.device, x.values);
      std::vector<float> inv_freq;
      for (int64_t i = 0; i < dim / 2; ++i) {
        inv_freq.push_back(std::pow(1e4f, -2.0f * static_cast<float>(i) / static_cast<float>(dim)));
      }
      const std::vector<int32_t> positions = {0, 1, 77, 8191, 131071};
      Rotate(x.device, positions, dim, heads, inv_freq);
      ThreadPool pool(1);
      RopeTable table;
      table.Fill(positions, inv_freq, pool);
      for (int64_t r = 0; r < 5; ++r) {
        for (int64_t h = 1; h <= heads; ++h) {
          KernelsFor(IsaLevel::kScalar)
              .rope(x.values.data() + r * cols + h * dim, table.cosine(r), table.sine(r), dim / 2);
        }
      }
      ExpectClose(Get(x.device), x.values, kBf16Error);
      ExpectSameBeside(Get(x.device), before, dim, cols);
    }
  }
}

// Columns of more than one block, too: 2,048 of them at eight a thread, 256 at one.
TEST_F(GpuRowOpsTest, ElementwiseOperationsAgree) {
  for (const int64_t cols : {1, 8, 100, 300, 1536, 4104}) {
    auto gate_up = Make(17, 2 * cols, 1, TensorUse::kOperand);
    auto out = Make(17, cols, 2, TensorUse::kOperand);
    Poison(out.device);
    LaunchSiluMul(static_cast<const __nv_bfloat16*>(gate_up.device.data), 17, cols,
                  static_cast<__nv_bfloat16*>(out.device.data), nullptr);
    for (int64_t r = 0; r < 17; ++r) {
      const float* gate = gate_up.values.data() + r * 2 * cols;
      KernelsFor(IsaLevel::kScalar).silu_mul(gate, gate + cols, out.values.data() + r * cols, cols);
    }
    ExpectClose(Get(out.device), out.values, kBf16Error);

    auto residual = Make(17, cols, 3, TensorUse::kSum);
    EXPECT_TRUE(gpu_->SumAdd(residual.device, out.device).ok());
    out.values = Get(out.device);
    out.host.data = out.values.data();
    EXPECT_TRUE(cpu_->SumAdd(residual.host, out.host).ok());
    ExpectClose(Get(residual.device), residual.values, kSumError);

    ExpectGathers(residual.device, TensorUse::kSum);
    ExpectGathers(out.device, TensorUse::kOperand);
  }
}

TEST_F(GpuRowOpsTest, ABiasIsAddedToEveryRow) {
  for (const int64_t cols : {1, 8, 100, 300, 1536, 4104}) {
    for (const TensorUse use : {TensorUse::kOperand, TensorUse::kSum}) {
      auto x = Make(17, cols, 1, use);
      const auto bias = RandomFloats(static_cast<size_t>(cols), 2);
      LaunchAddBias(x.device.data, x.device.dtype, OnDevice(bias).data(), 17, cols, nullptr);
      for (size_t i = 0; i < x.values.size(); ++i) {
        x.values[i] += bias[i % static_cast<size_t>(cols)];
      }
      ExpectClose(Get(x.device), x.values, use == TensorUse::kSum ? kSumError : kBf16Error);
    }
  }
}

TEST_F(GpuRowOpsTest, WeightsOfEveryFormatAreRounded) {
  const auto w = RandomFloats(33 * 64, 1);
  std::vector<uint16_t> narrow;
  const HostRows matrix({reinterpret_cast<const std::byte*>(w.data()), DType::kF32, 33, 32, 64});
  const auto packed = gpu_->Pack(matrix, WeightFormat::kAsStored).value();  // a column slice
  EXPECT_EQ(packed->bytes(), 33 * 32 * 2);
  const Batch batch{{32}, {0}, {}, {}};
  Begin(batch);
  const Tensor out = gpu_->Allocate(1, 32, TensorUse::kSum).value();
  gpu_->Embed(*packed, out);
  const auto got = Get(out), rounded = Rounded(w);
  for (size_t c = 0; c < 32; ++c) EXPECT_EQ(got[c], rounded[32 * 64 + c]);
  EXPECT_EQ(gpu_->Pack(matrix, WeightFormat::kInt4).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace headgate
