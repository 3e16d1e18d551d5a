#include "worker/cuda/device/device_buffer.h"

#include <cuda_runtime.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "worker/cuda/device/cuda_status.h"

namespace headgate {

absl::StatusOr<CudaBuffer> CudaBuffer::Create(MemoryPlace place, int64_t bytes) {
  CudaBuffer buffer;
  buffer.place_ = place;
  const auto size = static_cast<size_t>(std::max<int64_t>(bytes, 16));
  const cudaError_t error = place == MemoryPlace::kDevice ? cudaMalloc(&buffer.data_, size)
                                                          : cudaMallocHost(&buffer.data_, size);
  if (error != cudaSuccess) buffer.data_ = nullptr;
  RETURN_IF_ERROR(CudaStatus(
      error, absl::StrCat("allocating ", bytes, " bytes of ",
                          place == MemoryPlace::kDevice ? "device" : "pinned", " memory")));
  buffer.bytes_ = bytes;
  return buffer;
}

// Errors are ignored: at the end of a process the driver may be gone already.
CudaBuffer::~CudaBuffer() {
  if (data_ == nullptr) return;
  if (place_ == MemoryPlace::kDevice) {
    cudaFree(data_);
  } else {
    cudaFreeHost(data_);
  }
}

}  // namespace headgate
