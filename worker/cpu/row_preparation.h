// What MatMul kernels want beside x itself: sums of groups, and bf16 halves for AMX. Buffers grow
// and are reused. Owned by the step thread.
#pragma once

#include <cstdint>
#include <vector>

#include "worker/backend.h"
#include "worker/cpu/aligned_buffer.h"
#include "worker/cpu/kernel_table.h"
#include "worker/cpu/panel.h"
#include "worker/cpu/thread_pool.h"

namespace headgate {

class RowPreparation {
 public:
  // `tiles`: the kernels multiply bf16 tiles.
  RowPreparation(const KernelTable& kernels, ThreadPool& pool, bool tiles)
      : kernels_(kernels), pool_(pool), tiles_(tiles) {}

  // Valid until the next call.
  PreparedRows Prepare(Tensor x, const PanelView& weights);

 private:
  const KernelTable& kernels_;
  ThreadPool& pool_;
  const bool tiles_;
  std::vector<float> sums_;
  AlignedBuffer split_;
};

}  // namespace headgate
