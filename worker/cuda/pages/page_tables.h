// The page tables in device memory, as kernels read them, and the kernels that change them. A table
// is cut into chunks of kChunkSlots page ids from a pool of their own, so that a short row costs
// one chunk and a row of a million tokens needs no memory of that size set aside.
//
// Launchers are asynchronous on `stream`; a launch error is what cudaGetLastError says.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "base/ids.h"
#include "kvstore/visibility.h"

namespace headgate {

inline constexpr int kChunkSlots = 256;

// `place` names a live sequence: dense, reused. `row` is an index into KvLayout::rows.
struct PageTables {
  const RowSpec* specs = nullptr;   // [rows]
  uint32_t* chunks = nullptr;       // [places][rows][chunks_max]: ids of chunks
  PageId* ids = nullptr;            // [chunks_total][kChunkSlots]
  PageId* free_pages = nullptr;     // stack [pages_total]
  uint32_t* free_chunks = nullptr;  // stack [chunks_total]
  uint32_t* free_counts = nullptr;  // {pages, chunks} on the stacks
  int32_t rows = 0;
  int32_t places = 0;
  int32_t chunks_max = 0;
  int32_t page_tokens = 0;
  uint32_t pages_total = 0;
  uint32_t chunks_total = 0;
};

// A sequence's rows grow or shrink from the pages of `from` positions to those of `to`.
struct LengthChange {
  int32_t place = 0;
  int32_t from = 0;
  int32_t to = 0;
};

// What CheckTables found.
struct TableCheck {
  uint32_t bad_pages = 0;  // referenced twice, not at all, or out of range
  uint32_t first_bad = 0;  // the lowest of them
  uint32_t free_pages = 0;
  uint32_t free_chunks = 0;
};

// All pages and chunks become free.
void ResetTables(const PageTables& tables, cudaStream_t stream);
// Takes pages for changes with to > from, gives back those with to < from. One call holds only one
// of the two kinds. REQUIRES: that many are free.
void ChangeLengths(const PageTables& tables, const LengthChange* changes, int count,
                   cudaStream_t stream);
// Counts the references of every page. `live` (device memory) holds {place, 0, length} of every
// sequence; `marks` [pages_total] is scratch; `out` is in device memory.
void CheckTables(const PageTables& tables, const LengthChange* live, int count, uint32_t* marks,
                 TableCheck* out, cudaStream_t stream);

#ifdef __CUDACC__
__device__ inline PageId* TableEntry(const PageTables& t, int32_t place, int32_t row,
                                     int64_t slot) {
  const int64_t at =
      (static_cast<int64_t>(place) * t.rows + row) * t.chunks_max + slot / kChunkSlots;
  return t.ids + static_cast<int64_t>(t.chunks[at]) * kChunkSlots + slot % kChunkSlots;
}
#endif

}  // namespace headgate
