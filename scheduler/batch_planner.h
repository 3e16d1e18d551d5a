// Which chunks one step holds. Pure: reads the running sequences, changes nothing; their pages are
// reserved already.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "scheduler/running_set.h"

namespace headgate {

struct BatchLimits {
  int64_t step_tokens = 0;   // of the whole step
  int64_t chunk_tokens = 0;  // of one sequence
};

struct ChunkDraft {
  size_t index = 0;    // into the running sequences
  int64_t length = 0;  // positions
  bool decode = false;
  bool sample = false;
};

// Decodes first, then prefill chunks, both oldest first, until the token budget is spent. A
// sequence whose next position has no pages yet is left out. Empty when nothing can be computed
// now.
std::vector<ChunkDraft> DraftBatch(std::span<const std::unique_ptr<Sequence>> oldest_first,
                                   const BatchLimits& limits);

}  // namespace headgate
