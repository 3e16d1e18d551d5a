// Memory of weight matrices, cut from large blocks. Most matrices of a small model are smaller than
// a huge page; back to back in blocks of huge pages they stream by with fewer TLB misses. The step
// thread allocates; a matrix may be freed on any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "worker/cpu/aligned_buffer.h"

namespace headgate {

class WeightMemory {
 public:
  // Zeroed bytes that begin at a cache line. A block is freed with the last matrix in it.
  // RESOURCE_EXHAUSTED when there is no memory; INVALID_ARGUMENT when bytes < 0.
  absl::StatusOr<std::shared_ptr<std::byte>> Take(int64_t bytes);

 private:
  std::shared_ptr<AlignedBuffer> block_;
  int64_t taken_ = 0;  // bytes of block_
};

}  // namespace headgate
