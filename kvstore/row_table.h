// The pages of one row: its table, and the kept list of a gated row. See RowView for the order of
// slots. Not thread safe: part of HostPageStore.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "base/ids.h"
#include "kvstore/page_pool.h"

namespace headgate {

// The K and V of one token to be copied from a slot of a page to a slot of a page. Copies are done
// in the order given, before the next step writes: a later copy may overwrite an earlier source.
struct TokenCopy {
  PageId from_page = kNoPage;
  int32_t from_slot = 0;
  PageId to_page = kNoPage;
  int32_t to_slot = 0;

  bool operator==(const TokenCopy&) const = default;
};

class RowTable {
 public:
  void Append(std::span<const PageId> pages) {
    table_.insert(table_.end(), pages.begin(), pages.end());
  }
  // Returns the last `count` pages of the table to the pool.
  void TakeBack(int64_t count, PagePool& pool);

  // Gated rows: the `count` pages that begin at slot `begin` (positions from `position` on) left
  // the window. Tokens that `keep` names join the kept list: they fill its last page first, and a
  // page with more survivors than that becomes the new last page. So retiring never needs a page.
  // Appends what must be copied to `copies`; returns how many pages went back to the pool.
  int64_t Retire(int64_t begin, int64_t count, int64_t position, int64_t page_tokens,
                 absl::FunctionRef<bool(int64_t position)> keep, PagePool& pool,
                 std::vector<TokenCopy>& copies);

  // Returns every page to the pool.
  void Clear(PagePool& pool);

  std::span<const PageId> table() const { return table_; }
  std::span<const PageId> kept() const { return kept_; }
  int64_t kept_tokens() const { return kept_tokens_; }
  int64_t pages() const { return static_cast<int64_t>(table_.size() + kept_.size()); }

 private:
  std::vector<PageId> table_;
  std::vector<PageId> kept_;
  int64_t kept_tokens_ = 0;
};

}  // namespace headgate
