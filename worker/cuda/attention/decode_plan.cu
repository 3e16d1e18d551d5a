#include <cub/block/block_scan.cuh>

#include "kvstore/kv_layout.h"
#include "worker/cuda/attention/decode_plan.h"
#include "worker/cuda/device/launch.cuh"
#include "worker/cuda/rows/rotation.cuh"

namespace headgate {
namespace {

// A block fits beside those of the kernel before it.
constexpr int kThreads = 256;
// Fewer blocks share a row then, and what they merge is less.
constexpr int32_t kBlockTilesMin = 8;

// The row without its place among the others; no tiles when the sequence does not decode.
__device__ DecodeRow Describe(const PageTables& tables, const StepSequence& sequence,
                              int32_t row_begin, int32_t head) {
  DecodeRow row;
  if (sequence.length != 1) return row;
  const RowSpec spec = tables.specs[row_begin + head];
  const int32_t page_tokens = tables.page_tokens;
  const int64_t t = sequence.position;
  const int32_t all = static_cast<int32_t>(t / kTileTokens) + 1;
  row.table_row = sequence.place * tables.rows + row_begin + head;
  row.batch_row = sequence.offset;
  row.head = head;
  row.last_tokens = static_cast<int32_t>(t % kTileTokens) + 1;
  row.ring_slots = INT32_MAX;
  if (spec.head_class == HeadClass::kFull) {
    row.tile_end = all;
    return row;
  }
  const int64_t window = WindowStart(spec, t, page_tokens);
  row.sink_tiles = min(static_cast<int32_t>(spec.sinks / kTileTokens), all);
  row.sink_slots = static_cast<int32_t>(spec.sinks / page_tokens);
  row.ring_slots = static_cast<int32_t>(spec.window / page_tokens) + 1;
  row.ring_first = static_cast<int32_t>(TableSlot(spec, t, window, page_tokens)) - row.sink_slots;
  row.tile_end = row.sink_tiles + max(all - static_cast<int32_t>(window / kTileTokens), 0);
  return row;
}

// Part `part` of `total` things cut evenly into `parts` begins here.
__device__ int32_t CutAt(int64_t total, int64_t part, int64_t parts) {
  return static_cast<int32_t>(total * part / parts);
}
// And the part that holds thing x.
__device__ int32_t PartOf(int64_t x, int64_t total, int64_t parts) {
  return static_cast<int32_t>(((x + 1) * parts - 1) / total);
}

__device__ int32_t RowOf(const DecodeRow* rows, int32_t count, int32_t tile) {
  int32_t low = 0, high = count - 1;
  while (low < high) {
    const int32_t middle = (low + high) / 2;
    if (tile < rows[middle].tile_end) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

// Writes the layer's rows back to back; {rows, tiles} of the layer.
__device__ int2 LayRows(const DecodePlan& plan, const PageTables& tables, const StepView& step,
                        DecodeRow* rows) {
  using Scan = cub::BlockScan<int64_t, kThreads, cub::BLOCK_SCAN_WARP_SCANS>;
  __shared__ typename Scan::TempStorage scan;
  constexpr int kTileBits = 32;  // a row and its tiles in one number
  const auto row_begin = static_cast<int32_t>(plan.row_begin[blockIdx.x]);
  const auto heads = static_cast<int32_t>(plan.row_begin[blockIdx.x + 1]) - row_begin;
  const int32_t candidates = step.sequence_count * heads;
  int64_t before = 0;
  for (int32_t base = 0; base < candidates; base += kThreads) {
    const int32_t i = base + static_cast<int32_t>(threadIdx.x);
    DecodeRow row;
    if (i < candidates) {
      row = Describe(tables, step.sequences[i / heads], row_begin, i % heads);
      row.sequence = i / heads;
    }
    const int64_t mine = row.tile_end == 0 ? 0 : (int64_t{1} << kTileBits) + row.tile_end;
    int64_t at, sum;
    Scan(scan).ExclusiveSum(mine, at, sum);
    __syncthreads();
    at += before;
    before += sum;
    if (mine == 0) continue;
    row.tile_begin = static_cast<int32_t>(at);
    row.tile_end += row.tile_begin;
    rows[at >> kTileBits] = row;
  }
  return {static_cast<int>(before >> kTileBits), static_cast<int>(before)};
}

// Each of the grid's blocks finds some sequences' turns.
__device__ void FindTurns(const DecodePlan& plan, const StepView& step) {
  const int32_t half = plan.head_dim / 2;
  for (int32_t s = static_cast<int32_t>(blockIdx.x); s < step.sequence_count;
       s += static_cast<int32_t>(gridDim.x)) {
    const auto position = static_cast<float>(step.sequences[s].position);
    float* turns = plan.turns + static_cast<int64_t>(s) * plan.head_dim;
    for (int32_t i = static_cast<int32_t>(threadIdx.x); i < half; i += kThreads) {
      TurnOf(position, plan.inv_freq[i], turns + i, turns + half + i);
    }
  }
}

// One block per layer. May run beside the kernels before it, where they leave room: what it reads
// was there before the step's first one.
__global__ void __launch_bounds__(kThreads)
    PlanKernel(DecodePlan plan, PageTables tables, StepView step) {
  DecodeRow* rows = plan.rows + plan.row_begin[blockIdx.x] * plan.sequences_max;
  DecodeStart* starts = plan.starts + static_cast<int64_t>(blockIdx.x) * plan.starts_max;
  if (plan.inv_freq != nullptr) FindTurns(plan, step);
  const int2 laid = LayRows(plan, tables, step, rows);
  const int32_t count = laid.x, tiles = laid.y;
  __syncthreads();
  // Within a block no more warps than tiles: those without work come last.
  const int32_t blocks = min(plan.blocks, max(tiles / kBlockTilesMin, 1));
  for (int32_t i = static_cast<int32_t>(threadIdx.x); i < count; i += kThreads) {
    rows[i].block_first = PartOf(rows[i].tile_begin, tiles, blocks);
    rows[i].block_last = PartOf(rows[i].tile_end - 1, tiles, blocks);
  }
  for (int32_t i = static_cast<int32_t>(threadIdx.x); i <= plan.blocks * plan.warps;
       i += kThreads) {
    const int32_t block = min(i / plan.warps, blocks);
    const int32_t begin = CutAt(tiles, block, blocks);
    const int32_t size = CutAt(tiles, min(block + 1, blocks), blocks) - begin;
    const int32_t warps = min(size, plan.warps);
    DecodeStart start;
    start.tile = begin;
    if (size > 0) start.tile += CutAt(size, min(i % plan.warps, warps), warps);
    if (count > 0) {
      start.row = RowOf(rows, count, start.tile);
      const DecodeRow row = rows[start.row];
      if (start.tile < row.tile_end) {
        start.place = PlaceOfTile(tables, row, start.tile, plan.page_shift);
        start.note = NoteOfTile(row, start.tile);
      }
    }
    starts[i] = start;
  }
  AwaitEarlierKernels();
}

}  // namespace

void LaunchDecodePlan(const DecodePlan& plan, const PageTables& tables, const StepView& step,
                      cudaStream_t stream) {
  if (plan.layers == 0) return;
  LaunchOverlapping(PlanKernel, static_cast<unsigned>(plan.layers), kThreads, 0, stream, plan,
                    tables, step);
}

}  // namespace headgate
