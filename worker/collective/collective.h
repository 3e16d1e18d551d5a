// Sums and gathers between the ranks of one tensor-parallel group. One step thread per rank calls
// it; all ranks make the same calls in the same order. A dead peer is an UNAVAILABLE status within
// the timeout given at creation; after any error the group is finished and the process must end.
#pragma once

#include <cstdint>
#include <span>

#include "absl/status/status.h"

namespace headgate {

class Collective {
 public:
  virtual ~Collective() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  // values := sum over ranks, bit-identical on every rank.
  virtual absl::Status AllReduceSum(std::span<float> values) = 0;
  // out (rank 0 only; ignored elsewhere) := the ranks' values back to back, counts[r] from rank r.
  virtual absl::Status GatherToRoot(std::span<const float> values, std::span<const int64_t> counts,
                                    std::span<float> out) = 0;
  // values := rank 0's values.
  virtual absl::Status Broadcast(std::span<std::byte> values) = 0;
  virtual absl::Status Barrier() = 0;
};

}  // namespace headgate
