// A fixed number of page ids with reference counts. Ids only: the backend owns the bytes.
// Not thread safe: the worker's step thread owns it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/check.h"
#include "base/ids.h"

namespace headgate {

class PagePool {
 public:
  explicit PagePool(uint32_t pages) : references_(pages, 0), free_(pages) {
    for (uint32_t i = 0; i < pages; ++i) free_[i] = pages - 1 - i;  // the first page comes first
  }

  // Fills `pages` with ids referenced once; false, with nothing taken, when too few are free.
  bool Allocate(std::span<PageId> pages) {
    if (pages.size() > free_.size()) return false;
    for (PageId& page : pages) {
      page = free_.back();
      free_.pop_back();
      references_[page] = 1;
    }
    return true;
  }

  // One more holder of a page that is held.
  void Retain(PageId page) {
    CHECK(references(page) > 0) << "page " << page << " is free";
    ++references_[page];
  }

  // One holder less; true when it was the last and the page is free again.
  bool Release(PageId page) {
    CHECK(references(page) > 0) << "page " << page << " was freed twice";
    if (--references_[page] > 0) return false;
    free_.push_back(page);
    return true;
  }

  uint32_t references(PageId page) const {
    CHECK_LT(page, references_.size());
    return references_[page];
  }
  uint32_t total() const { return static_cast<uint32_t>(references_.size()); }
  uint32_t free() const { return static_cast<uint32_t>(free_.size()); }
  uint32_t referenced() const { return total() - free(); }

 private:
  std::vector<uint32_t> references_;
  std::vector<PageId> free_;  // a stack: what was freed last is reused first
};

}  // namespace headgate
