// A weight matrix in device memory: bf16, row-major [outputs, inputs] without gaps, whatever the
// checkpoint holds. Made at start-up on the loader's thread.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "worker/backend.h"
#include "worker/cuda/device/device_buffer.h"
#include "worker/cuda/weights/weight_uploader.h"
#include "worker/row_source.h"

namespace headgate {

class DeviceMatrix final : public PackedMatrix {
 public:
  // fp16 and fp32 round to nearest. Errors: the uploader's; RESOURCE_EXHAUSTED when memory lacks.
  static absl::StatusOr<std::unique_ptr<DeviceMatrix>> Create(const RowSource& rows,
                                                              WeightUploader& uploader);

  int64_t outputs() const override { return outputs_; }
  int64_t inputs() const override { return inputs_; }
  int64_t bytes() const override { return data_.bytes(); }
  const __nv_bfloat16* data() const { return data_.as<const __nv_bfloat16>(); }

 private:
  DeviceMatrix(int64_t outputs, int64_t inputs, CudaBuffer data)
      : outputs_(outputs), inputs_(inputs), data_(std::move(data)) {}

  int64_t outputs_;
  int64_t inputs_;
  CudaBuffer data_;
};

}  // namespace headgate
