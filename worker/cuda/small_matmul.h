// out = x w^T (+ bias) for a handful of rows (decode): such a product is as fast as memory delivers
// w. One thread. Compute capability 9.0.
#pragma once

#include <cuda_runtime.h>

#include <array>
#include <cstdint>
#include <optional>

#include "worker/cuda/matmul_call.h"

namespace headgate {

class SmallMatMul {
 public:
  static constexpr int64_t kRowsMax = 16;

  // How blocks share a product. `cluster` blocks share the columns of w's rows; a block keeps its
  // part of x in shared memory and up to `stages` parts of w under way.
  struct Plan {
    int cluster = 1;
    int stages = 0;
    int blocks = 0;  // of the grid
    int64_t slice = 0;
    int64_t chunk = 0;
    int64_t shared_bytes = 0;
  };

  // Asks the current device what it has room for.
  SmallMatMul();

  // False: use another way.
  bool Applies(const MatMulCall& call) const;
  // Asynchronous; a launch error is what cudaGetLastError says. Every row of `out` has the same
  // bits whatever the other rows are and however many (up to kRowsMax), in every run on the same
  // kind of device. REQUIRES: Applies.
  void Run(const MatMulCall& call, cudaStream_t stream) const;

  // For measurements: the plan with the given cluster, blocks of an SM and bytes of shared memory;
  // nullopt when that does not fit.
  std::optional<Plan> PlanOf(const MatMulCall& call, int cluster, int blocks_per_sm,
                             int64_t shared_bytes_max) const;
  void Run(const MatMulCall& call, const Plan& plan, cudaStream_t stream) const;

 private:
  Plan Choose(const MatMulCall& call) const;

  bool capable_ = false;
  int sms_ = 0;
  int64_t shared_bytes_max_ = 0;          // of a block
  std::array<int, 4> clusters_max_ = {};  // [log2 of their blocks], one block on an SM
};

}  // namespace headgate
