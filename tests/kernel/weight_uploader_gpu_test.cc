// Weights in device memory are those of the source, in every number format and however many blocks
// and threads they take.
#include <gmock/gmock.h>

#include <cstring>

#include "tests/kernel/cuda_rig.h"
#include "worker/cuda/device/cuda_status.h"
#include "worker/cuda/device/device_buffer.h"
#include "worker/cuda/weights/weight_uploader.h"

namespace headgate {
namespace {

// Values as `dtype` holds them.
std::vector<std::byte> Stored(const std::vector<float>& values, DType dtype) {
  std::vector<std::byte> stored(values.size() * static_cast<size_t>(DTypeBytes(dtype)));
  for (size_t i = 0; i < values.size(); ++i) {
    if (dtype == DType::kF32) {
      std::memcpy(stored.data() + 4 * i, &values[i], 4);
    } else if (dtype == DType::kF16) {
      const auto half = static_cast<_Float16>(values[i]);
      std::memcpy(stored.data() + 2 * i, &half, 2);
    } else {
      std::memcpy(stored.data() + 2 * i, reinterpret_cast<const std::byte*>(&values[i]) + 2, 2);
    }
  }
  return stored;
}

std::vector<float> Download(const CudaBuffer& buffer, size_t count) {
  std::vector<uint16_t> bits(count);
  CudaCheck(cudaMemcpy(bits.data(), buffer.data(), 2 * count, cudaMemcpyDeviceToHost), "download");
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) {
    const uint32_t wide = uint32_t{bits[i]} << 16;
    std::memcpy(&values[i], &wide, 4);
  }
  return values;
}

TEST(GpuWeightUploaderTest, EveryFormatAndShape) {
  const auto gpu = NewCudaBackend();
  const auto uploader = WeightUploader::Create(0).value();
  struct Shape {
    int64_t rows;
    int64_t cols;
  };
  // A value, one block, many blocks, rows larger than a block.
  for (const auto& [rows, cols] : {Shape{1, 1}, {17, 33}, {5001, 4096}, {3, 3'000'001}}) {
    // Values that every format holds exactly.
    std::vector<float> values(static_cast<size_t>(rows * cols));
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<float>(static_cast<int>(i * 2654435761u >> 8 & 255) - 128) / 64.0f;
    }
    const CudaBuffer device = CudaBuffer::Create(MemoryPlace::kDevice, rows * cols * 2).value();
    for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
      CudaCheck(cudaMemset(device.data(), 0xff, static_cast<size_t>(rows * cols * 2)), "poison");
      CudaCheck(cudaDeviceSynchronize(), "poison");  // the uploader's streams wait for no other
      const std::vector<std::byte> stored = Stored(values, dtype);
      const absl::Status uploaded = uploader->Upload(
          HostRows({stored.data(), dtype, rows, cols, cols}), device.as<__nv_bfloat16>());
      ASSERT_TRUE(uploaded.ok()) << uploaded;
      ASSERT_TRUE(Download(device, values.size()) == values)
          << DTypeName(dtype) << " " << rows << " x " << cols;
    }
  }
}

// Fails from row 700 on.
class BrokenRows final : public RowSource {
 public:
  DType dtype() const override { return DType::kBF16; }
  int64_t rows() const override { return 20'000; }
  int64_t cols() const override { return 4096; }
  absl::Status Read(int64_t first, int64_t count, std::span<std::byte>) const override {
    if (first + count <= 700) return absl::OkStatus();
    return absl::DataLossError("file: ends early");
  }
};

TEST(GpuWeightUploaderTest, AFailedReadIsTheResultAndTheNextUploadWorks) {
  const auto gpu = NewCudaBackend();
  const auto failed = gpu->Pack(BrokenRows(), WeightFormat::kBF16);
  EXPECT_EQ(failed.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(failed.status().message()), testing::HasSubstr("ends early"));
  const std::vector<float> one = {1.0f};
  const std::vector<std::byte> stored = Stored(one, DType::kF32);
  EXPECT_TRUE(gpu->Pack(HostRows({stored.data(), DType::kF32, 1, 1, 1}), WeightFormat::kBF16).ok());
}

}  // namespace
}  // namespace headgate
