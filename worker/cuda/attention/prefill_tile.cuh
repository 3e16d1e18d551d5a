// What a block of the prefill kernel works on: a tile of queries of one kv head, the keys they see
// in steps of kKeys, and shared memory. Device code.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "worker/cuda/attention/attention.h"
#include "worker/cuda/attention/key_boxes.cuh"
#include "worker/cuda/device/wgmma.cuh"

namespace headgate {

inline constexpr int kRows = 128;  // of a tile: (token, query head of the group) pairs
inline constexpr int kKeys = 128;  // of a step
inline constexpr int kStepBoxes = kKeys / kBoxKeys;
inline constexpr int kStages = 3;          // of keys, and of values, in shared memory
inline constexpr int kGroupThreads = 128;  // a warpgroup
inline constexpr int kConsumers = 2 * kGroupThreads;
inline constexpr int kLoaderWarps = 2;  // one for the keys, one for the values

struct Tile {
  StepSequence sequence;
  RowSpec spec;
  int32_t row;    // in the page tables
  int32_t head;   // kv head of the layer
  int32_t group;  // query heads per kv head
  int32_t first;  // token of the chunk
  int32_t tokens;
  KeyBoxes boxes;
  int32_t steps;
  // Steps whose keys all queries of the tile see: below `clear_pages`, and of the chunk's.
  int32_t clear_pages, clear_begin, clear_end;

  __device__ int32_t position(int32_t token) const { return sequence.position + first + token; }
};

// A step's keys, and its values, lie in swizzled blocks of 8 keys and 64 columns: by columns first
// when a box of all columns is one copy (64 and 128 columns), else by keys.
template <int kDim>
struct StepLayout {
  static constexpr int kBlocks = (kDim + kSwizzleCols - 1) / kSwizzleCols;
  static constexpr int kBytes = kKeys * kBlocks * kSwizzleRowBytes;
  static constexpr bool kWhole = kDim % kSwizzleCols == 0;
  static constexpr int kAcross = kWhole ? kSwizzleBlockBytes : kKeys * kSwizzleRowBytes;
  static constexpr int kDown = kWhole ? kBlocks * kSwizzleBlockBytes : kSwizzleBlockBytes;
};

template <int kDim>
struct PrefillShared {
  alignas(1024) uint8_t k[kStages][StepLayout<kDim>::kBytes];
  alignas(1024) uint8_t v[kStages][StepLayout<kDim>::kBytes];
  uint64_t k_full[kStages], k_empty[kStages], v_full[kStages], v_empty[kStages];
  uint64_t ran;          // all computing and loading warps have made their first run
  uint32_t asked_again;  // by a computing warp, before it arrives at `ran`; else 0
  Tile tile;
};

// The sequence of the step that has tile `tile`, all tiles counted in order; `tile` becomes its
// number within the sequence. By one warp, 32 sequences at a time; -1: there is none.
__device__ inline int32_t FindSequence(const AttentionCall& call, int32_t tile_tokens, int lane,
                                       int32_t* tile) {
  for (int32_t begin = 0; begin < call.step.sequence_count; begin += 32) {
    int32_t tiles = 0;
    if (begin + lane < call.step.sequence_count) {
      const int32_t length = call.step.sequences[begin + lane].length;
      if (length != 1 || !call.long_chunks_only) tiles = (length + tile_tokens - 1) / tile_tokens;
    }
    int32_t until = tiles;  // of this sequence and those before it
    for (int offset = 1; offset < 32; offset *= 2) {
      const int32_t before = __shfl_up_sync(~0u, until, offset);
      if (lane >= offset) until += before;
    }
    const unsigned past = __ballot_sync(~0u, *tile < until);
    if (past != 0) {
      const int found = __ffs(static_cast<int>(past)) - 1;
      *tile -= __shfl_sync(~0u, until - tiles, found);
      return begin + found;
    }
    *tile -= __shfl_sync(~0u, until, 31);
  }
  return -1;
}

// By one warp; false when there is no such tile.
__device__ inline bool FindTile(const AttentionCall& call, int32_t number, int32_t head, int lane,
                                Tile* tile) {
  const int32_t group = call.heads / call.kv_heads;
  const int32_t tokens = kRows / group;
  const int32_t found = FindSequence(call, tokens, lane, &number);
  if (found < 0) return false;
  if (lane != 0) return true;
  const StepSequence sequence = call.step.sequences[found];
  tile->sequence = sequence;
  tile->group = group;
  tile->first = number * tokens;
  tile->tokens = min(tokens, sequence.length - tile->first);
  tile->head = head;
  tile->row = call.row_begin + head;
  tile->spec = call.tables.specs[tile->row];
  const KeyBoxes boxes = FindKeyBoxes(tile->spec, sequence, tile->position(0),
                                      tile->position(tile->tokens - 1), call.tables.page_tokens);
  tile->boxes = boxes;
  tile->steps = (boxes.count() + kStepBoxes - 1) / kStepBoxes;
  tile->clear_pages = tile->clear_begin = tile->clear_end = 0;
  if (tile->spec.head_class == HeadClass::kFull) {
    const int32_t in_pages = boxes.until[1];
    tile->clear_pages = sequence.position / kKeys;
    tile->clear_begin = (in_pages + kStepBoxes - 1) / kStepBoxes;
    tile->clear_end = (in_pages + (tile->first + 1) / kBoxKeys) / kStepBoxes;
  }
  return true;
}

}  // namespace headgate
