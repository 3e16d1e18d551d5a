#include "kvstore/kv_layout.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace headgate {
namespace {

absl::Status ValidateRow(const KvLayout& layout, int64_t layer, int64_t head) {
  const RowSpec& row = layout.row(layer, head);
  const auto bad = [&](auto... what) {
    return absl::InvalidArgumentError(
        absl::StrCat("kv layout: layer ", layer, ", kv head ", head, ": ", what...));
  };
  const bool full = row.head_class == HeadClass::kFull;
  if (full && (row.sinks != 0 || row.window != 0)) {
    return bad("a full row has no sinks and no window");
  }
  if (full) return absl::OkStatus();
  if (!(row.sinks >= 0 && row.sinks % layout.page_tokens == 0)) {
    return bad("sinks ", row.sinks, " is not a multiple of page_tokens ", layout.page_tokens);
  }
  if (!(row.window >= layout.page_tokens && row.window % layout.page_tokens == 0)) {
    return bad("window ", row.window, " is not a positive multiple of page_tokens ",
               layout.page_tokens);
  }
  return absl::OkStatus();
}

}  // namespace

KvLayout MakeKvLayout(int64_t page_tokens, int64_t head_dim, DType dtype,
                      const std::vector<std::vector<RowSpec>>& rows_by_layer) {
  KvLayout layout;
  layout.page_tokens = page_tokens;
  layout.head_dim = head_dim;
  layout.dtype = dtype;
  for (const std::vector<RowSpec>& rows : rows_by_layer) {
    layout.rows.insert(layout.rows.end(), rows.begin(), rows.end());
    layout.row_begin.push_back(static_cast<int64_t>(layout.rows.size()));
  }
  return layout;
}

absl::Status ValidateKvLayout(const KvLayout& layout) {
  const int64_t tokens = layout.page_tokens;
  if (!(1 <= tokens && tokens <= 4096 && (tokens & (tokens - 1)) == 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("kv layout: page_tokens ", tokens, " is not a power of two in [1, 4096]"));
  }
  if (!(1 <= layout.head_dim && layout.head_dim <= 4096)) {
    return absl::InvalidArgumentError(
        absl::StrCat("kv layout: head_dim ", layout.head_dim, " is not in [1, 4096]"));
  }
  const std::vector<int64_t>& begin = layout.row_begin;
  if (begin.empty() || begin.front() != 0 || !std::is_sorted(begin.begin(), begin.end()) ||
      begin.back() != static_cast<int64_t>(layout.rows.size())) {
    return absl::InvalidArgumentError(
        absl::StrCat("kv layout: row_begin does not cover the ", layout.rows.size(), " rows"));
  }
  for (int64_t layer = 0; layer < layout.layers(); ++layer) {
    for (int64_t head = 0; head < layout.kv_heads(layer); ++head) {
      if (absl::Status row = ValidateRow(layout, layer, head); !row.ok()) return row;
    }
  }
  return absl::OkStatus();
}

std::vector<RowGroup> CountRowGroups(const KvLayout& layout) {
  std::vector<RowGroup> groups;
  for (const RowSpec& row : layout.rows) {
    const auto same = [&row](const RowGroup& group) {
      return group.head_class == row.head_class && group.sinks == row.sinks &&
             group.window == row.window;
    };
    auto group = std::find_if(groups.begin(), groups.end(), same);
    if (group == groups.end()) {
      group = groups.insert(groups.end(), {row.head_class, 0, row.sinks, row.window});
    }
    ++group->rows;
  }
  return groups;
}

}  // namespace headgate
