#include <algorithm>

#include "worker/cuda/pages/page_tables.h"

namespace headgate {
namespace {

constexpr int kThreads = 256;
constexpr int kWarp = 32;
constexpr int kBlocksMax = 1024;

int Blocks(int64_t threads) {
  return static_cast<int>(std::clamp<int64_t>((threads + kThreads - 1) / kThreads, 1, kBlocksMax));
}

__global__ void ResetKernel(PageTables t) {
  const uint32_t stride = gridDim.x * blockDim.x;
  const uint32_t first = blockIdx.x * blockDim.x + threadIdx.x;
  for (uint32_t i = first; i < t.pages_total; i += stride) t.free_pages[i] = t.pages_total - 1 - i;
  for (uint32_t i = first; i < t.chunks_total; i += stride) {
    t.free_chunks[i] = t.chunks_total - 1 - i;
  }
  if (first == 0) {
    t.free_counts[0] = t.pages_total;
    t.free_counts[1] = t.chunks_total;
  }
}

// One warp per (change, row).
__global__ void ChangeKernel(PageTables t, const LengthChange* changes, int count) {
  const int lane = threadIdx.x % kWarp;
  const int64_t warps = static_cast<int64_t>(gridDim.x) * blockDim.x / kWarp;
  const int64_t items = static_cast<int64_t>(count) * t.rows;
  for (int64_t item = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kWarp;
       item < items; item += warps) {
    const LengthChange change = changes[item / t.rows];
    const int32_t row = static_cast<int32_t>(item % t.rows);
    const bool grow = change.to > change.from;
    const RowSpec spec = t.specs[row];
    const int64_t least = WorstCasePages(spec, grow ? change.from : change.to, t.page_tokens);
    const int64_t most = WorstCasePages(spec, grow ? change.to : change.from, t.page_tokens);
    const uint32_t pages = static_cast<uint32_t>(most - least);
    if (pages == 0) continue;
    const int64_t chunks_least = (least + kChunkSlots - 1) / kChunkSlots;
    const int64_t chunks_most = (most + kChunkSlots - 1) / kChunkSlots;
    const uint32_t chunks = static_cast<uint32_t>(chunks_most - chunks_least);
    uint32_t* own_chunks =
        t.chunks + (static_cast<int64_t>(change.place) * t.rows + row) * t.chunks_max;
    uint32_t page_at = 0, chunk_at = 0;
    if (lane == 0) {  // the first of our entries on each stack
      if (grow) {
        page_at = atomicSub(t.free_counts, pages) - pages;
        if (chunks > 0) chunk_at = atomicSub(t.free_counts + 1, chunks) - chunks;
      } else {
        page_at = atomicAdd(t.free_counts, pages);
        if (chunks > 0) chunk_at = atomicAdd(t.free_counts + 1, chunks);
      }
    }
    page_at = __shfl_sync(~0u, page_at, 0);
    chunk_at = __shfl_sync(~0u, chunk_at, 0);
    if (grow) {
      for (uint32_t i = lane; i < chunks; i += kWarp) {
        own_chunks[chunks_least + i] = t.free_chunks[chunk_at + i];
      }
      __syncwarp();
      for (uint32_t i = lane; i < pages; i += kWarp) {
        *TableEntry(t, change.place, row, least + i) = t.free_pages[page_at + i];
      }
    } else {
      for (uint32_t i = lane; i < pages; i += kWarp) {
        t.free_pages[page_at + i] = *TableEntry(t, change.place, row, least + i);
      }
      __syncwarp();
      for (uint32_t i = lane; i < chunks; i += kWarp) {
        t.free_chunks[chunk_at + i] = own_chunks[chunks_least + i];
      }
    }
  }
}

__device__ void Mark(uint32_t page, uint32_t pages_total, uint32_t* marks, TableCheck* out) {
  if (page < pages_total) {
    atomicAdd(marks + page, 1);
  } else {
    atomicAdd(&out->bad_pages, 1);
    atomicMin(&out->first_bad, page);
  }
}

__global__ void MarkKernel(PageTables t, const LengthChange* live, int count, uint32_t* marks,
                           TableCheck* out) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  for (int64_t i = first; i < t.free_counts[0] && i < t.pages_total; i += stride) {
    Mark(t.free_pages[i], t.pages_total, marks, out);
  }
  for (int64_t item = first; item < static_cast<int64_t>(count) * t.rows; item += stride) {
    const LengthChange one = live[item / t.rows];
    const int32_t row = static_cast<int32_t>(item % t.rows);
    const int64_t pages = WorstCasePages(t.specs[row], one.to, t.page_tokens);
    for (int64_t slot = 0; slot < pages; ++slot) {
      Mark(*TableEntry(t, one.place, row, slot), t.pages_total, marks, out);
    }
  }
  if (first == 0) {
    out->free_pages = t.free_counts[0];
    out->free_chunks = t.free_counts[1];
  }
}

__global__ void JudgeKernel(uint32_t pages_total, const uint32_t* marks, TableCheck* out) {
  const uint32_t stride = gridDim.x * blockDim.x;
  for (uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < pages_total; i += stride) {
    if (marks[i] == 1) continue;
    atomicAdd(&out->bad_pages, 1);
    atomicMin(&out->first_bad, i);
  }
}

}  // namespace

void ResetTables(const PageTables& tables, cudaStream_t stream) {
  ResetKernel<<<Blocks(std::max(tables.pages_total, tables.chunks_total)), kThreads, 0, stream>>>(
      tables);
}

void ChangeLengths(const PageTables& tables, const LengthChange* changes, int count,
                   cudaStream_t stream) {
  if (count == 0 || tables.rows == 0) return;
  const int64_t threads = static_cast<int64_t>(count) * tables.rows * kWarp;
  ChangeKernel<<<Blocks(threads), kThreads, 0, stream>>>(tables, changes, count);
}

void CheckTables(const PageTables& tables, const LengthChange* live, int count, uint32_t* marks,
                 TableCheck* out, cudaStream_t stream) {
  cudaMemsetAsync(marks, 0, tables.pages_total * sizeof(uint32_t), stream);
  cudaMemsetAsync(out, 0, sizeof(TableCheck), stream);
  cudaMemsetAsync(&out->first_bad, 0xff, sizeof(out->first_bad), stream);
  const int64_t threads =
      std::max<int64_t>(tables.pages_total, static_cast<int64_t>(count) * tables.rows);
  MarkKernel<<<Blocks(threads), kThreads, 0, stream>>>(tables, live, count, marks, out);
  JudgeKernel<<<Blocks(tables.pages_total), kThreads, 0, stream>>>(tables.pages_total, marks, out);
}

}  // namespace headgate
