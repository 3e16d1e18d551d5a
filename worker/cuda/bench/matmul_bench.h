// Matrix products against the rate at which memory can be read, and every algorithm that cuBLASLt
// offers for them. One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

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
  double us = 0.0;       // by the product path
  double lt_us = 0.0;    // by the algorithm that cuBLASLt names first
  double read_us = 0.0;  // reading w alone, at the linear rate
};

struct AlgorithmTime {
  double us = 0.0;  // 0: it failed
  double tflops = 0.0;
  int64_t workspace_bytes = 0;
  bool taken = false;  // by LtMatMul::Run
};

// Of device memory. Many weight matrices take turns: several times the L2 cache.
struct MatMulMemory {
  int64_t weights_bytes = int64_t{8} << 30;
  int64_t x_bytes = int64_t{64} << 20;
  int64_t out_bytes = int64_t{256} << 20;
};

class MatMulBench {
 public:
  static absl::StatusOr<std::unique_ptr<MatMulBench>> Create(const MatMulMemory& memory);

  double linear_read_tb_s() const { return linear_read_tb_s_; }
  // Median time of one product among many back to back. INVALID_ARGUMENT when a matrix does not
  // fit.
  absl::StatusOr<MatMulTime> Measure(const MatMulSize& size);
  // The same by each of the first `count` algorithms of cuBLASLt's heuristic, in its order.
  absl::StatusOr<std::vector<AlgorithmTime>> MeasureAlgorithms(const MatMulSize& size, int count);

 private:
  MatMulBench(CudaBuffer weights, CudaBuffer x, CudaBuffer out, double linear_read_tb_s,
              std::unique_ptr<MatrixProducts> products, std::unique_ptr<LtMatMul> lt)
      : weights_(std::move(weights)),
        x_(std::move(x)),
        out_(std::move(out)),
        linear_read_tb_s_(linear_read_tb_s),
        products_(std::move(products)),
        lt_(std::move(lt)) {}
  absl::Status CheckFits(const MatMulSize& size) const;
  MatMulCall CallOf(const MatMulSize& size, int64_t copy) const;
  template <typename Run>
  absl::StatusOr<double> MedianUs(const MatMulSize& size, const Run& run);

  const CudaBuffer weights_;
  const CudaBuffer x_;
  const CudaBuffer out_;
  const double linear_read_tb_s_;
  const std::unique_ptr<MatrixProducts> products_;
  const std::unique_ptr<LtMatMul> lt_;
};

}  // namespace headgate
