#include "kvstore/row_table.h"

#include "base/check.h"

namespace headgate {

void RowTable::TakeBack(int64_t count, PagePool& pool) {
  CHECK_LE(count, static_cast<int64_t>(table_.size()));
  for (; count > 0; --count) {
    pool.Release(table_.back());
    table_.pop_back();
  }
}

int64_t RowTable::Retire(int64_t begin, int64_t count, int64_t position, int64_t page_tokens,
                         absl::FunctionRef<bool(int64_t)> keep, PagePool& pool,
                         std::vector<TokenCopy>& copies) {
  CHECK_LE(begin + count, static_cast<int64_t>(table_.size()));
  int64_t freed = 0;
  for (int64_t i = 0; i < count; ++i) {
    const PageId page = table_[static_cast<size_t>(begin + i)];
    bool adopted = false;
    for (int64_t slot = 0; slot < page_tokens; ++slot) {
      if (!keep(position + i * page_tokens + slot)) continue;
      const int64_t to_slot = kept_tokens_ % page_tokens;
      if (to_slot == 0) {
        // The kept list's last page is full. Every earlier slot of this page is read already, so
        // the survivors from here on close up in place.
        kept_.push_back(page);
        adopted = true;
      }
      if (kept_.back() != page || to_slot != slot) {
        copies.push_back(
            {page, static_cast<int32_t>(slot), kept_.back(), static_cast<int32_t>(to_slot)});
      }
      ++kept_tokens_;
    }
    if (!adopted) {
      pool.Release(page);
      ++freed;
    }
  }
  table_.erase(table_.begin() + begin, table_.begin() + begin + count);
  return freed;
}

void RowTable::Clear(PagePool& pool) {
  for (const PageId page : table_) pool.Release(page);
  for (const PageId page : kept_) pool.Release(page);
  table_.clear();
  kept_.clear();
  kept_tokens_ = 0;
}

}  // namespace headgate
