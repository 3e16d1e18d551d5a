// The shape of one rank's KV store: page size, rows, and how a position maps to a slot of its row.
// Plain data; any thread may read it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "base/dtype.h"
#include "base/group_shape.h"
#include "base/ids.h"
#include "kvstore/visibility.h"

namespace headgate {

// A page holds page_tokens positions of ONE kv head of ONE layer: K [page_tokens, head_dim], then
// V [page_tokens, head_dim], in `dtype`. One size, one free list per rank.
//
// A rank may hold a different number of kv heads in each layer, none included (head_placement.h),
// so rows lie back to back: layer l has rows row_begin[l] .. row_begin[l + 1] - 1.
struct KvLayout {
  int64_t page_tokens = 16;  // a power of two
  int64_t head_dim = 0;
  DType dtype = DType::kBF16;
  std::vector<int64_t> row_begin = {0};  // [layers + 1], from 0, not decreasing
  std::vector<RowSpec> rows;             // [row_begin[layers]]

  int64_t layers() const { return static_cast<int64_t>(row_begin.size()) - 1; }
  int64_t kv_heads(int64_t layer) const {
    return row_begin[static_cast<size_t>(layer + 1)] - row_begin[static_cast<size_t>(layer)];
  }
  // Index of a row; `head` counts the kv heads that this rank has in this layer.
  int64_t row_index(int64_t layer, int64_t head) const {
    return row_begin[static_cast<size_t>(layer)] + head;
  }
  const RowSpec& row(int64_t layer, int64_t head) const {
    return rows[static_cast<size_t>(row_index(layer, head))];
  }
  int64_t page_bytes() const { return 2 * page_tokens * head_dim * DTypeBytes(dtype); }
};

// A layout from the rows of each layer: rows_by_layer[layer][head].
KvLayout MakeKvLayout(int64_t page_tokens, int64_t head_dim, DType dtype,
                      const std::vector<std::vector<RowSpec>>& rows_by_layer);

// INVALID_ARGUMENT names the first number that is out of range.
absl::Status ValidateKvLayout(const KvLayout& layout);

// The rows counted by class, for RankShape::rows; in order of first appearance.
std::vector<RowGroup> CountRowGroups(const KvLayout& layout);

// Slot of a row's table that holds `position`, which a step reads or writes; `length` positions
// were written before it. See RowView for the order of slots.
HEADGATE_HOST_DEVICE constexpr int64_t TableSlot(const RowSpec& row, int64_t length,
                                                 int64_t position, int64_t page_tokens) {
  const int64_t page = position / page_tokens;
  if (row.head_class == HeadClass::kFull) return page;
  const int64_t sink_pages = row.sinks / page_tokens;
  if (page < sink_pages) return page;
  if (row.head_class == HeadClass::kStreaming) {
    return sink_pages + (page - sink_pages) % (row.window / page_tokens + 1);
  }
  return sink_pages + page - WindowStart(row, length, page_tokens) / page_tokens;
}

// One row as an attention kernel reads it. Valid until the next BeginStep, Commit or Release.
//
// `table` has one slot per page, without gaps. Full rows: slot = position / page_tokens. Streaming
// rows: the sinks' pages first, then the window as a ring of window / page_tokens + 1 slots, so a
// page of the window is overwritten in place once no query can see it. Gated rows: the sinks'
// pages, then every page from the window's first to the step's last; `kept` is their append-only
// list of kept_tokens survivors in position order, keys already rotated.
struct RowView {
  RowSpec spec;
  int64_t page_tokens = 0;
  int64_t length = 0;  // positions written before this step
  std::span<const PageId> table;
  std::span<const PageId> kept;
  int64_t kept_tokens = 0;

  int64_t Slot(int64_t position) const { return TableSlot(spec, length, position, page_tokens); }
  PageId PageAt(int64_t position) const { return table[static_cast<size_t>(Slot(position))]; }
};

}  // namespace headgate
