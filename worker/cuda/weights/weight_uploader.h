// Weights on their way into device memory. Several threads read rows into pinned memory of their
// own, and the GPU copies from one half of it while they fill the other: neither one core's copying
// nor the driver's bounce buffer is the limit. Made at start-up; one thread calls it.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/row_source.h"

namespace headgate {

class WeightUploader {
 public:
  // For GPU `device`. RESOURCE_EXHAUSTED when pinned memory lacks.
  static absl::StatusOr<std::unique_ptr<WeightUploader>> Create(int device);
  ~WeightUploader();

  // Leaves all rows at `to`, [rows, cols] bf16; the device rounds fp16 and fp32 to nearest. They
  // are there when it returns. Errors: the source's; RESOURCE_EXHAUSTED when memory lacks.
  absl::Status Upload(const RowSource& rows, __nv_bfloat16* to);

 private:
  class Lane;
  struct Work;

  WeightUploader();

  std::vector<std::unique_ptr<Lane>> lanes_;  // one thread each
};

}  // namespace headgate
