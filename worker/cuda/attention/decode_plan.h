// Who reads what in a step's decode attention, worked out on the device: lengths are data there,
// never the shape of a launch, so a captured graph stays right as sequences grow.
//
// Of each layer, every (sequence with one token in the step, kv head) is a row of tiles: the 16
// tokens a warp reads at once. All rows' tiles, back to back, are cut evenly over a fixed grid; a
// row may lie across several blocks. One launch plans all layers of a step.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "worker/cuda/pages/page_tables.h"
#include "worker/cuda/step_view.h"

namespace headgate {

inline constexpr int kTileTokens = 16;
inline constexpr uint32_t kRowEnds = 256;  // in a tile's note, above its count of visible tokens

// One row of a layer, in the order of the step's sequences, then heads. 64 bytes.
struct alignas(16) DecodeRow {
  int32_t tile_begin = 0;  // among the layer's tiles
  int32_t tile_end = 0;
  int32_t table_row = 0;   // place * PageTables::rows + row
  int32_t batch_row = 0;   // of q, k, v and the output
  int32_t head = 0;        // kv head of the layer
  int32_t sink_tiles = 0;  // visible tiles below the window
  int32_t sink_slots = 0;  // the table's slots before the window's
  int32_t ring_first = 0;  // the window's first page is in slot sink_slots + ring_first,
  int32_t ring_slots = 0;  // the next ones follow modulo this
  int32_t last_tokens =
      0;  // visible tokens of the last tile, 1 to 16: it ends with the query's own
  int32_t block_first = 0;  // the blocks that read it
  int32_t block_last = 0;
  int32_t sequence = 0;  // of the step
};

// Where a warp begins; it ends where the next one begins, so some have nothing. 16 bytes.
struct alignas(16) DecodeStart {
  int32_t tile = 0;
  int32_t row = 0;     // that holds this tile
  uint32_t place = 0;  // of the tile in page memory: page * tiles of a page + tile
  uint32_t note = 0;   // of the tile
};

// Device memory.
struct DecodePlan {
  const int64_t* row_begin = nullptr;  // [layers + 1], as KvLayout::row_begin
  DecodeRow* rows = nullptr;           // layer l's from row_begin[l] * sequences_max on
  DecodeStart* starts = nullptr;       // [layers][starts_max]; used: blocks * warps + 1
  int32_t layers = 0;
  int32_t sequences_max = 0;
  int32_t starts_max = 0;
  int32_t blocks = 0;      // of the attention kernel's grid
  int32_t warps = 0;       // of each block
  int32_t page_shift = 0;  // log2(tiles of a page)
  int32_t head_dim = 0;
  // How far each sequence's token is turned (rotary position embedding), the same for all layers:
  // [sequences_max][head_dim], half of it cosines, half sines; by inv_freq [head_dim / 2], null:
  // not.
  float* turns = nullptr;
  const float* inv_freq = nullptr;
};

// Asynchronous. REQUIRES: step.sequence_count <= plan.sequences_max, page_tokens a multiple of
// kTileTokens, no gated rows; and since the last attention launch, and since the tables and the
// step were written, something waited for all before it, as a copy to the device does: the plan may
// be made beside the kernels right before it.
void LaunchDecodePlan(const DecodePlan& plan, const PageTables& tables, const StepView& step,
                      cudaStream_t stream);

#ifdef __CUDACC__
__device__ inline uint32_t NoteOfTile(const DecodeRow& row, int32_t tile) {
  return tile + 1 == row.tile_end ? row.last_tokens | kRowEnds : kTileTokens;
}

// Tile `tile` of the layer, which `row` holds, in page memory, as DecodeStart::place.
__device__ inline uint32_t PlaceOfTile(const PageTables& tables, const DecodeRow& row, int32_t tile,
                                       int page_shift) {
  const int32_t i = tile - row.tile_begin;
  int32_t slot = i >> page_shift;
  if (i >= row.sink_tiles) {
    slot = ((i - row.sink_tiles) >> page_shift) + row.ring_first;
    if (slot >= row.ring_slots) slot -= row.ring_slots;
    slot += row.sink_slots;
  }
  const uint32_t chunk =
      tables.chunks[static_cast<int64_t>(row.table_row) * tables.chunks_max + slot / kChunkSlots];
  const PageId page = tables.ids[static_cast<int64_t>(chunk) * kChunkSlots + slot % kChunkSlots];
  return (page << page_shift) + (i & ((1 << page_shift) - 1));
}
#endif

}  // namespace headgate
