// out = x w^T (+ bias), and what MatMulCall names beside it, for a handful of rows (decode): such a
// product is as fast as memory delivers w. One thread. Compute capability 9.0.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <optional>

#include "worker/cuda/matmul/matmul_call.h"

namespace headgate {

class SmallMatMul {
 public:
  static constexpr int64_t kRowsMax = 16;

  // Asks the current device what it has room for.
  SmallMatMul();

  // False, and nothing is done: m > kRowsMax, k is no multiple of 8, or x does not fit the shared
  // memory beside parts of w. Asynchronous; a launch error is what cudaGetLastError says. A row of
  // `out` has the same bits whatever the other rows are and however many, in every run.
  bool Run(const MatMulCall& call, cudaStream_t stream) const;

 private:
  struct Plan {
    int blocks = 0;            // of the grid
    int stages = 0;            // parts of w under way in a block
    int64_t shared_bytes = 0;  // of a block
  };

  // nullopt: does not fit with so many blocks on an SM.
  std::optional<Plan> PlanOf(const MatMulCall& call, int blocks_per_sm) const;
  void Run(const MatMulCall& call, const Plan& plan, cudaStream_t stream) const;
  std::optional<Plan> Choose(const MatMulCall& call) const;

  bool capable_ = false;
  int sms_ = 0;
  int64_t shared_bytes_max_ = 0;  // of a block
};

}  // namespace headgate
