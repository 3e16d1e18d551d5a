#include "tests/kernel/cuda_rig.h"

#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>

#include "worker/cpu/float_formats.h"
#include "worker/cuda/cuda_backend.h"
#include "worker/cuda/device/cuda_status.h"

namespace headgate {

std::unique_ptr<Backend> NewCudaBackend(int64_t step_tokens_max) {
  auto backend = MakeCudaBackend({.device = 0, .step_tokens_max = step_tokens_max});
  if (!backend.ok()) {
    std::fprintf(stderr, "%s\n", backend.status().ToString().c_str());
    std::exit(1);
  }
  return *std::move(backend);
}

void Put(Tensor tensor, std::span<const float> values) {
  ASSERT_EQ(static_cast<int64_t>(values.size()), tensor.rows * tensor.cols);
  CudaCheck(cudaDeviceSynchronize(), "before Put");
  if (tensor.dtype == DType::kF32) {
    CudaCheck(cudaMemcpy(tensor.data, values.data(), values.size_bytes(), cudaMemcpyHostToDevice),
              "Put");
    return;
  }
  std::vector<uint16_t> narrow;
  for (const float value : values) narrow.push_back(FloatToBf16(value));
  CudaCheck(cudaMemcpy(tensor.data, narrow.data(), narrow.size() * 2, cudaMemcpyHostToDevice),
            "Put");
}

std::vector<float> Get(Tensor tensor) {
  const auto count = static_cast<size_t>(tensor.rows * tensor.cols);
  CudaCheck(cudaDeviceSynchronize(), "before Get");
  std::vector<float> values(count);
  if (tensor.dtype == DType::kF32) {
    CudaCheck(cudaMemcpy(values.data(), tensor.data, count * 4, cudaMemcpyDeviceToHost), "Get");
    return values;
  }
  std::vector<uint16_t> narrow(count);
  CudaCheck(cudaMemcpy(narrow.data(), tensor.data, count * 2, cudaMemcpyDeviceToHost), "Get");
  for (size_t i = 0; i < count; ++i) values[i] = Bf16ToFloat(narrow[i]);
  return values;
}

Tensor NewTensor(Backend& backend, std::span<const float> values, int64_t rows, TensorUse use) {
  const int64_t cols = rows == 0 ? 0 : static_cast<int64_t>(values.size()) / rows;
  const Tensor tensor = backend.Allocate(rows, cols, use).value();
  Put(tensor, values);
  return tensor;
}

void Poison(Tensor tensor) {
  CudaCheck(cudaDeviceSynchronize(), "before Poison");
  CudaCheck(cudaMemset(tensor.data, 0xff,
                       static_cast<size_t>(tensor.rows * tensor.cols * DTypeBytes(tensor.dtype))),
            "Poison");
  CudaCheck(cudaDeviceSynchronize(), "Poison");
}

std::vector<float> Rounded(std::vector<float> values) {
  for (float& value : values) value = Bf16ToFloat(FloatToBf16(value));
  return values;
}

}  // namespace headgate
