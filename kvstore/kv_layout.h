// The shape of one rank's KV store: page size, rows, and how a position maps to a slot of its row.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/dtype.h"
#include "base/group_shape.h"
#include "base/ids.h"
#include "kvstore/visibility.h"

namespace headgate {

// A page holds page_tokens positions of ONE kv head of ONE layer: K [page_tokens, head_dim], then
// V [page_tokens, head_dim], in `dtype`. One size, one free list per rank.
struct KvLayout {
  int64_t page_tokens = 16;  // a power of two
  int64_t head_dim = 0;
  int64_t layers = 0;
  int64_t kv_heads = 0;         // of this rank; may differ between ranks
  DType dtype = DType::kBF16;
  std::vector<RowSpec> rows;    // [layers, kv_heads]

  const RowSpec& row(int64_t layer, int64_t head) const {
    return rows[static_cast<size_t>(layer * kv_heads + head)];
  }
  int64_t page_bytes() const { return 2 * page_tokens * head_dim * DTypeBytes(dtype); }
};

// One row as an attention kernel reads it. Valid until the next BeginStep, Commit or Release.
//
// `table` has one slot per page. Full rows: slot = position / page_tokens. Streaming and gated rows:
// the sinks' pages first, then the window as a ring of window / page_tokens + 1 slots, so a page of
// the window is overwritten in place once no query can see it. `kept` is the append-only list of
// gated rows: kept_tokens survivors in position order, keys already rotated.
struct RowView {
  RowSpec spec;
  int64_t page_tokens = 0;
  int64_t length = 0;  // positions written before this step
  std::span<const PageId> table;
  std::span<const PageId> kept;
  int64_t kept_tokens = 0;

  int64_t Slot(int64_t position) const {
    const int64_t page = position / page_tokens;
    if (spec.head_class == HeadClass::kFull) return page;
    const int64_t sink_pages = spec.sinks / page_tokens;
    if (page < sink_pages) return page;
    return sink_pages + (page - sink_pages) % (spec.window / page_tokens + 1);
  }
  PageId PageAt(int64_t position) const { return table[static_cast<size_t>(Slot(position))]; }
};

}  // namespace headgate
