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
  int32_t first[4];  // position of a run's first key
  int32_t end[4];    // one past its last key that exists; later keys of the last box are void
  int32_t until[4];  // boxes of this run and those before it

  __device__ int32_t count() const { return until[3]; }
  __device__ static bool InPages(int run) { return run < 2; }
  __device__ int RunOf(int32_t box) const {
    return (box >= until[0] ? 1 : 0) + (box >= until[1] ? 1 : 0) + (box >= until[2] ? 1 : 0);
  }
  // Position of the first key of a box of `run`.
  __device__ int32_t Position(int32_t box, int run) const {
    return first[run] + (box - (run == 0 ? 0 : until[run - 1])) * kBoxKeys;
  }
  // Whether one of the boxes [begin, end) has void keys or does not exist.
  __device__ bool HasVoid(int32_t begin, int32_t stop) const {
    bool found = stop > count();
    for (int run = 0; run < 4; ++run) {
      const bool partial = (end[run] - first[run]) % kBoxKeys > 0;
      found |= partial && begin < until[run] && until[run] <= stop;
    }
    return found;
  }
};

// For queries at positions [from, to] of `sequence`.
__device__ inline KeyBoxes FindKeyBoxes(const RowSpec& spec, const StepSequence& sequence,
                                        int32_t from, int32_t to, int32_t page_tokens) {
  const int32_t position = sequence.position;
  const auto window = static_cast<int32_t>(WindowStart(spec, from, page_tokens));
  const auto sinks = static_cast<int32_t>(min(spec.sinks, int64_t{to} + 1));
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
    const int32_t keys = max(boxes.end[run] - boxes.first[run], 0);
    until += (keys + kBoxKeys - 1) / kBoxKeys;
    boxes.until[run] = until;
  }
  return boxes;
}

}  // namespace headgate
