// The one definition of what a query may see, and the one rule by which windows are rounded to
// pages. Every backend, kernel, test and trainer implements exactly this (docs/contract.md).
//
//   Vis(l,h,t) = [0, sinks) ∪ [WindowStart(t), t] ∪ Kept(l,h,t)
//
// for query position t. Full rows see [0, t]. Kept is empty for a streaming row; for a gated row it
// is { i : sinks <= i < WindowStart(t), keep(l,h,i) }. Rounding rule: `sinks` and `window` are
// multiples of page_tokens (rounded up when a policy is loaded), and the window begins at the page
// boundary at or below t - window + 1. So the window holds between window and
// window + page_tokens - 1 tokens, whole pages are visible or not, and Vis depends on t alone.
//
// Host and device code: plain constexpr functions.
#pragma once

#include <cstdint>

#include "base/group_shape.h"

#ifdef __CUDACC__
#define HEADGATE_HOST_DEVICE __host__ __device__
#else
#define HEADGATE_HOST_DEVICE
#endif

namespace headgate {

// The class and window of one row, in tokens. REQUIRES: sinks, window multiples of page_tokens;
// window >= page_tokens unless full.
struct RowSpec {
  HeadClass head_class = HeadClass::kFull;
  int64_t sinks = 0;
  int64_t window = 0;

  constexpr bool operator==(const RowSpec&) const = default;
};

// First position of the window that query position t sees; 0 for full rows. Never below `sinks`.
HEADGATE_HOST_DEVICE constexpr int64_t WindowStart(const RowSpec& row, int64_t t,
                                                   int64_t page_tokens) {
  if (row.head_class == HeadClass::kFull) return 0;
  const int64_t first = t - row.window + 1;
  if (first <= row.sinks) return row.sinks;
  return first / page_tokens * page_tokens;
}

// Is position i in Vis of query t, kept list aside? REQUIRES: i <= t.
HEADGATE_HOST_DEVICE constexpr bool InSinksOrWindow(const RowSpec& row, int64_t i, int64_t t,
                                                    int64_t page_tokens) {
  return i < row.sinks || i >= WindowStart(row, t, page_tokens);
}

// Pages of a streaming row whose ring is full: it never holds more.
HEADGATE_HOST_DEVICE constexpr int64_t ResidentPages(const RowSpec& row, int64_t page_tokens) {
  return row.sinks / page_tokens + row.window / page_tokens + 1;
}

// Most pages that a row can hold once `tokens` positions have been written. Gated rows: worst case,
// nothing evicted. This is what the ledger reserves and what the page store never exceeds.
HEADGATE_HOST_DEVICE constexpr int64_t WorstCasePages(const RowSpec& row, int64_t tokens,
                                                      int64_t page_tokens) {
  const int64_t all = (tokens + page_tokens - 1) / page_tokens;
  if (row.head_class != HeadClass::kStreaming) return all;
  const int64_t resident = ResidentPages(row, page_tokens);
  return all < resident ? all : resident;
}

}  // namespace headgate
