#include "worker/cuda/device_matrix.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "worker/cuda/convert.h"
#include "worker/cuda/cuda_status.h"

namespace headgate {

absl::StatusOr<std::unique_ptr<DeviceMatrix>> DeviceMatrix::Create(const HostMatrix& matrix,
                                                                   CudaBuffer& staging,
                                                                   cudaStream_t stream) {
  const int64_t count = matrix.rows * matrix.cols;
  const int64_t width = matrix.cols * DTypeBytes(matrix.dtype);
  const bool same = matrix.dtype == DType::kBF16;
  ASSIGN_OR_RETURN(CudaBuffer data, CudaBuffer::Create(MemoryPlace::kDevice, count * 2));
  if (!same && staging.bytes() < matrix.rows * width) {
    staging = CudaBuffer();  // before the larger one is taken
    ASSIGN_OR_RETURN(staging, CudaBuffer::Create(MemoryPlace::kDevice, matrix.rows * width));
  }
  std::byte* to = same ? data.data() : staging.data();
  if (count > 0) {
    RETURN_IF_ERROR(CudaStatus(
        cudaMemcpy2DAsync(to, static_cast<size_t>(width), matrix.data,
                          static_cast<size_t>(matrix.row_stride * DTypeBytes(matrix.dtype)),
                          static_cast<size_t>(width), static_cast<size_t>(matrix.rows),
                          cudaMemcpyHostToDevice, stream),
        "uploading weights"));
  }
  if (!same) LaunchToBf16(staging.data(), matrix.dtype, count, data.as<__nv_bfloat16>(), stream);
  RETURN_IF_ERROR(CudaStatus(cudaGetLastError(), "converting weights"));
  // The caller may free the host's bytes, and the next matrix reuses the staging memory.
  RETURN_IF_ERROR(CudaStatus(cudaStreamSynchronize(stream), "uploading weights"));
  return std::unique_ptr<DeviceMatrix>(new DeviceMatrix(matrix.rows, matrix.cols, std::move(data)));
}

}  // namespace headgate
