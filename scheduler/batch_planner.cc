#include "scheduler/batch_planner.h"

#include <algorithm>

namespace headgate {

std::vector<ChunkDraft> DraftBatch(std::span<const std::unique_ptr<Sequence>> oldest_first,
                                   const BatchLimits& limits) {
  std::vector<ChunkDraft> drafts;
  drafts.reserve(oldest_first.size());
  int64_t budget = limits.step_tokens;
  for (size_t i = 0; i < oldest_first.size() && budget > 0; ++i) {
    const Sequence& sequence = *oldest_first[i];
    if (!sequence.decodes() || sequence.tokens_planned >= sequence.tokens_reserved) continue;
    drafts.push_back({.index = i, .length = 1, .decode = true, .sample = true});
    --budget;
  }
  for (size_t i = 0; i < oldest_first.size() && budget > 0; ++i) {
    const Sequence& sequence = *oldest_first[i];
    if (!sequence.in_prefill()) continue;
    const int64_t length = std::min({sequence.prefill_left(), limits.chunk_tokens, budget});
    const bool last = length == sequence.prefill_left();
    drafts.push_back({.index = i,
                      .length = length,
                      .decode = false,
                      .sample = last && sequence.samples_max > 0});
    budget -= length;
  }
  return drafts;
}

}  // namespace headgate
