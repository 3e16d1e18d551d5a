// Where a position's key lies in the pages of its row; its value is page_tokens * head_dim elements
// further. Device code.
#pragma once

#include "kvstore/kv_layout.h"
#include "worker/cuda/attention/attention.h"

namespace headgate {

// `row` is an index into the tables, `length` what the row held before the step.
__device__ inline __nv_bfloat16* KeyInPages(const AttentionCall& call, int32_t place, int32_t row,
                                            const RowSpec& spec, int64_t length, int64_t position) {
  const int64_t slot = TableSlot(spec, length, position, call.tables.page_tokens);
  const PageId page = *TableEntry(call.tables, place, row, slot);
  return reinterpret_cast<__nv_bfloat16*>(call.pages + page * call.page_bytes) +
         position % call.tables.page_tokens * call.head_dim;
}

}  // namespace headgate
