#include "worker/cuda/weights/device_matrix.h"

#include "base/status_macros.h"

namespace headgate {

absl::StatusOr<std::unique_ptr<DeviceMatrix>> DeviceMatrix::Create(const RowSource& rows,
                                                                   WeightUploader& uploader) {
  ASSIGN_OR_RETURN(CudaBuffer data,
                   CudaBuffer::Create(MemoryPlace::kDevice, rows.rows() * rows.cols() * 2));
  RETURN_IF_ERROR(uploader.Upload(rows, data.as<__nv_bfloat16>()));
  return std::unique_ptr<DeviceMatrix>(new DeviceMatrix(rows.rows(), rows.cols(), std::move(data)));
}

}  // namespace headgate
