// What every attention kernel is told of a layer, from the layout of its pages. Pure.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kvstore/kv_layout.h"
#include "worker/cuda/attention/attention.h"

namespace headgate {

// `group` query heads a kv head. The caller adds qkv, out and what it wants besides.
// REQUIRES: `tables` and `pages` are of `layout`.
inline AttentionCall LayerCall(const KvLayout& layout, const PageTables& tables, std::byte* pages,
                               const StepView& step, int64_t layer, int64_t group) {
  AttentionCall call;
  call.step = step;
  call.tables = tables;
  call.pages = pages;
  call.page_bytes = layout.page_bytes();
  call.row_begin = static_cast<int32_t>(layout.row_index(layer, 0));
  call.kv_heads = static_cast<int32_t>(layout.kv_heads(layer));
  call.heads = static_cast<int32_t>(layout.kv_heads(layer) * group);
  call.head_dim = static_cast<int32_t>(layout.head_dim);
  return call;
}

}  // namespace headgate
