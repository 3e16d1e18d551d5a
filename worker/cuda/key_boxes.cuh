// Which keys a tile of queries of one row may see, cut into boxes of 16 keys that lie in one piece
// of memory: whole parts of pages for the positions before the step, rows of the step's qkv matrix
// after them. Device code.
#pragma once

#include <cstdint>

#include "kvstore/visibility.h"
#include "worker/cuda/step_view.h"

namespace headgate {

inline constexpr int kBoxKeys = 16;

// Up to four runs of positions, in order: sinks and window in pages, sinks and window in the chunk.
struct KeyBoxes {
  int64_t first[4];  // position of a run's first key
  int64_t end[4];    // one past its last key that exists; later keys of the last box are void
  int32_t until[4];  // boxes of this run and those before it

  __device__ int32_t count() const { return until[3]; }
  __device__ static bool InPages(int run) { return run < 2; }
  __device__ int RunOf(int32_t box) const {
    return (box >= until[0] ? 1 : 0) + (box >= until[1] ? 1 : 0) + (box >= until[2] ? 1 : 0);
  }
  // Position of the first key of a box of `run`.
  __device__ int64_t Position(int32_t box, int run) const {
    return first[run] + static_cast<int64_t>(box - (run == 0 ? 0 : until[run - 1])) * kBoxKeys;
  }
};

// For queries at positions [from, to] of `sequence`.
__device__ inline KeyBoxes FindKeyBoxes(const RowSpec& spec, const StepSequence& sequence,
                                        int64_t from, int64_t to, int64_t page_tokens) {
  const int64_t position = sequence.position;
  const int64_t window = WindowStart(spec, from, page_tokens);
  const int64_t sinks = min(spec.sinks, to + 1);
  KeyBoxes boxes;
  boxes.first[0] = 0;
  boxes.end[0] = min(sinks, position);
  boxes.first[1] = window;
  boxes.end[1] = position;
  boxes.first[2] = position;
  boxes.end[2] = sinks;
  boxes.first[3] = max(position, max(window, boxes.end[2]));
  boxes.end[3] = to + 1;
  int32_t until = 0;
  for (int run = 0; run < 4; ++run) {
    const int64_t keys = max(boxes.end[run] - boxes.first[run], int64_t{0});
    until += static_cast<int32_t>((keys + kBoxKeys - 1) / kBoxKeys);
    boxes.until[run] = until;
  }
  return boxes;
}

}  // namespace headgate
