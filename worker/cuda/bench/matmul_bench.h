// Decode's matrix products against the rate at which memory can be read. One thread.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "worker/cuda/device/device_buffer.h"
#include "worker/cuda/matmul/matmul.h"

namespace headgate {

struct MatMulSize {
  int64_t n = 0;
  int64_t k = 0;
  int64_t m = 0;
};

struct MatMulTime {
  double small_us = 0.0;  // the kernel for a handful of rows; 0 where it does not apply
  double lt_us = 0.0;     // cuBLASLt
  double read_us = 0.0;   // reading w alone, at the linear rate
};

class MatMulBench {
 public:
  // Takes `bytes` of device memory, so that many matrices take turns: several times the L2 cache.
  static absl::StatusOr<std::unique_ptr<MatMulBench>> Create(int64_t bytes);

  double linear_read_tb_s() const { return linear_read_tb_s_; }
  // Median time of one product among many back to back. INVALID_ARGUMENT when a matrix does not
  // fit.
  absl::StatusOr<MatMulTime> Measure(const MatMulSize& size);

 private:
  MatMulBench(CudaBuffer weights, CudaBuffer x, CudaBuffer out, double linear_read_tb_s,
              std::unique_ptr<LtMatMul> lt)
      : weights_(std::move(weights)),
        x_(std::move(x)),
        out_(std::move(out)),
        linear_read_tb_s_(linear_read_tb_s),
        lt_(std::move(lt)) {}
  template <typename Run>
  absl::StatusOr<double> MedianUs(const MatMulSize& size, const Run& run);

  const CudaBuffer weights_;
  const CudaBuffer x_;
  const CudaBuffer out_;
  const double linear_read_tb_s_;
  const std::unique_ptr<LtMatMul> lt_;
  const SmallMatMul small_;
};

}  // namespace headgate
