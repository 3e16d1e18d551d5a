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

  // Heads [1, 1 + heads) of every row.
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

TEST_F(GpuRowOpsTest, HeadNormAndRopeTouchTheirColumnsOnly) {
  for (const int64_t dim : {8, 20, 64, 96, 128}) {
    auto x = Make(5, 6 * dim, 1, TensorUse::kOperand);
    const auto weight = RandomFloats(static_cast<size_t>(dim), 2);
    gpu_->HeadNorm(x.device, dim, 4, OnDevice(weight), 1e-6f);
    cpu_->HeadNorm(x.host, dim, 4, weight, 1e-6f);
    ExpectClose(Get(x.device), x.values, kBf16Error);
    Put(x.device, x.values);
    x.values = Rounded(std::move(x.values));
    x.host.data = x.values.data();
    std::vector<float> inv_freq;
    for (int64_t i = 0; i < dim / 2; ++i) {
      inv_freq.push_back(std::pow(1e4f, -2.0f * static_cast<float>(i) / static_cast<float>(dim)));
    }
    const std::vector<int32_t> positions = {0, 1, 77, 8191, 131071};
    Rotate(x.device, positions, dim, 3, inv_freq);
    ThreadPool pool(1);
    RopeTable table;
    table.Fill(positions, inv_freq, pool);
    for (int64_t r = 0; r < 5; ++r) {
      for (int64_t h = 1; h < 4; ++h) {
        KernelsFor(IsaLevel::kScalar)
            .rope(x.values.data() + (r * 6 + h) * dim, table.cosine(r), table.sine(r), dim / 2);
      }
    }
    const auto got = Get(x.device);
    ExpectClose(got, x.values, kBf16Error);
    for (size_t r = 0; r < 5; ++r) {  // beside the heads: not a bit changed
      for (size_t c = 0; c < static_cast<size_t>(dim); ++c) {
        const size_t row = r * 6 * static_cast<size_t>(dim);
        EXPECT_EQ(got[row + c], x.values[row + c]);
        const size_t last = row + 5 * static_cast<size_t>(dim) + c;
        EXPECT_EQ(got[last], x.values[last]);
      }
    }
  }
}

TEST_F(GpuRowOpsTest, ElementwiseOperationsAgree) {
  for (const int64_t cols : {1, 8, 100, 1536}) {
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

    auto picked = Make(3, cols, 4, TensorUse::kSum);
    Poison(picked.device);
    const std::vector<int32_t> rows = {16, 0, 16};
    Batch batch;
    batch.outputs = {5, 16, 0, 16};
    Begin(batch);
    gpu_->GatherOutputs(residual.device, 1, picked.device);
    const auto got = Get(picked.device), from = Get(residual.device);
    const auto width = static_cast<size_t>(cols);
    for (size_t r = 0; r < 3; ++r) {
      for (size_t c = 0; c < width; ++c) {
        EXPECT_EQ(got[r * width + c], from[static_cast<size_t>(rows[r]) * width + c]);
      }
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
