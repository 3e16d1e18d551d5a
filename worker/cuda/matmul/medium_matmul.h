// out = x w^T (+ bias), and the gate that MatMulCall names beside it, for more rows than
// SmallMatMul takes (a batch that decodes), few enough that memory is still the limit, or nearly.
// One thread. Compute capability 9.0.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <optional>

#include "worker/cuda/matmul/matmul_call.h"

namespace headgate {

class MediumMatMul {
 public:
  static constexpr int64_t kRowsMax = 128;
  // Of those that are not long (IsLong).
  static constexpr int64_t kShortRowsMax = 96;

  // Asks the current device what it has room for.
  MediumMatMul();

  // False, and nothing is done: not Takes, or the driver refuses its tensor maps. Asynchronous; a
  // launch error is what cudaGetLastError says. A row of `out` has the same bits whatever the other
  // rows are and however many, up to 64 and from 65 on, in every run on the same device.
  bool Run(const MatMulCall& call, cudaStream_t stream) const;
  // m is at most RowsMax, n and k are multiples of 8 (of a gated product n of 16) and at most 2^30,
  // none of them 0, and the device can do it.
  bool Takes(const MatMulCall& call) const { return CutOf(call).has_value(); }
  // Of products like the call's, whatever m it has; 0: none.
  int64_t RowsMax(MatMulCall call) const;

 private:
  static constexpr int64_t kFewRows = 64;  // cut in one way, more in another
  static constexpr int kClusterMax = 3;    // larger ones leave multiprocessors without work

  // How a product is cut: a cluster's blocks have the same outputs, and a part of the columns each.
  struct Cut {
    int cluster = 0;    // blocks
    int tile_rows = 0;  // outputs of a cluster; a multiple of 16
    int tiles = 0;      // clusters
  };

  // nullopt: not Takes. Depends on n, k and whether m is more than kFewRows only, else.
  std::optional<Cut> CutOf(const MatMulCall& call) const;
  // One wave of blocks has all of w, and each of them many columns. The sums of many rows take long
  // to finish: of other products cuBLASLt is faster then.
  bool IsLong(const Cut& cut, int64_t chunks) const;
  bool Run(const MatMulCall& call, const Cut& cut, cudaStream_t stream) const;

  int clusters_[kClusterMax] = {};  // of so many blocks and one, that run at once
};

}  // namespace headgate
