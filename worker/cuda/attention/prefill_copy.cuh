// How the prefill kernel brings keys and values from pages and from the step's matrix into shared
// memory: tensor copies of a box of 16 keys, or of a whole step where its keys are rows of the
// matrix. Device code.
#pragma once

#include "kvstore/kv_layout.h"
#include "worker/cuda/attention/prefill_maps.h"
#include "worker/cuda/attention/prefill_tile.cuh"

namespace headgate {

// The row of a box's first key among the pages' rows, or the complement of its row of the matrix.
// Boxes past the end repeat the last one: void.
__device__ inline int32_t FindBox(const AttentionCall& call, const Tile& tile, int32_t box) {
  box = min(box, tile.boxes.count() - 1);
  const int run = tile.boxes.RunOf(box);
  const int32_t position = tile.boxes.Position(box, run);
  if (!KeyBoxes::InPages(run)) return ~(tile.sequence.offset + position - tile.sequence.position);
  const int32_t page_tokens = call.tables.page_tokens;
  const int64_t slot = TableSlot(tile.spec, tile.sequence.position, position, page_tokens);
  const auto page =
      static_cast<int32_t>(*TableEntry(call.tables, tile.sequence.place, tile.row, slot));
  return page * 2 * page_tokens + position % page_tokens;
}

struct CopySource {
  int32_t page_rows;   // from a page's first row: to its keys or values
  int32_t matrix_col;  // of the tile's head
};

template <int kDim>
__device__ void CopyPageBox(const PrefillMaps& maps, uint32_t to, int32_t row, uint32_t barrier) {
  using Layout = StepLayout<kDim>;
  if constexpr (Layout::kWhole) {
    CopyBox(maps.pages, to, {{0, 0, 0, row / 8}}, barrier);
  } else {
    for (int block = 0; block < Layout::kBlocks; ++block) {
      CopyBox(maps.pages, to + block * Layout::kAcross, {{block * kSwizzleCols, 0, 0, row / 8}},
              barrier);
    }
  }
}

// Brings the keys (or values) of all steps. One warp; all lanes call Run together.
template <int kDim>
struct Loader {
  using Layout = StepLayout<kDim>;
  using Stage = uint8_t[Layout::kBytes];

  const AttentionCall& call;
  const PrefillMaps& maps;
  const Tile& tile;
  const CopySource source;
  Stage* stages;
  uint64_t *full, *empty;
  int lane;

  // `before`: steps that the barriers have counted.
  __device__ void Run(int32_t before) const {
    constexpr int kLookups = 32 / kStepBoxes;  // steps that one look-up by the warp serves
    const int32_t steps = tile.steps;
    int32_t rows = 0, next_rows = FindBox(call, tile, lane);
    for (int32_t step = 0; step < steps; ++step) {
      if (step % kLookups == 0) {  // tables are read while stages are waited for
        rows = next_rows;
        next_rows = FindBox(call, tile, (step + kLookups) * kStepBoxes + lane);
      }
      const int32_t row = __shfl_sync(~0u, rows, step % kLookups * kStepBoxes + lane % kStepBoxes);
      const int32_t count = before + step;
      AwaitPhase(SharedAddress(&empty[count % kStages]), (count / kStages & 1) ^ 1);
      Copy(step, count % kStages, row);
    }
    __syncwarp();
  }

  __device__ void Copy(int32_t step, int stage, int32_t row) const {
    const int32_t first = __shfl_sync(~0u, row, 0);
    const uint32_t barrier = SharedAddress(&full[stage]);
    if (lane == 0) ArriveExpecting(barrier, Layout::kBytes);
    __syncwarp();
    const uint32_t to = SharedAddress(stages[stage]);
    if (Layout::kWhole && step * kStepBoxes >= tile.boxes.until[2] &&
        ~first + kKeys <= call.step.rows) {
      if (lane == 0) {
        CopyBox(maps.matrix_step, to, {{source.matrix_col, ~first, 0, 0}}, barrier);
      }
    } else if (lane < kStepBoxes) {
      const uint32_t box = to + lane * 2 * Layout::kDown;
      if (row >= 0) {
        CopyPageBox<kDim>(maps, box, row + source.page_rows, barrier);
      } else {
        CopyMatrixBox(box, ~row, barrier);
      }
    }
  }

  __device__ void CopyMatrixBox(uint32_t to, int32_t row, uint32_t barrier) const {
    for (int half = 0; half < 2; ++half) {
      for (int block = 0; block < (Layout::kWhole ? 1 : Layout::kBlocks); ++block) {
        CopyBox(maps.matrix_rows, to + half * Layout::kDown + block * Layout::kAcross,
                {{source.matrix_col + block * kSwizzleCols, row + half * 8, 0, 0}}, barrier);
      }
    }
  }
};

}  // namespace headgate
