#include "worker/page_budget.h"

#include "absl/strings/str_cat.h"

namespace headgate {

absl::StatusOr<uint32_t> CountPages(const PageBudget& budget, const KvLayout& layout,
                                    int64_t default_bytes) {
  int64_t pages = budget.pages;
  if (pages == 0) {
    pages = (budget.memory_bytes > 0 ? budget.memory_bytes : default_bytes) / layout.page_bytes();
  }
  const int64_t rows = static_cast<int64_t>(layout.rows.size());
  if (!(rows <= pages && pages < static_cast<int64_t>(kNoPage))) {
    return absl::InvalidArgumentError(
        absl::StrCat("pages: ", pages, " pages of ", layout.page_bytes(), " bytes; the model has ",
                     rows, " rows on this rank and each needs one. Give more page memory"));
  }
  return static_cast<uint32_t>(pages);
}

absl::StatusOr<uint32_t> FitPages(uint32_t wanted, uint32_t least,
                                  absl::FunctionRef<absl::Status(uint32_t pages)> make) {
  constexpr uint32_t kParts = 20;
  absl::Status status;
  for (uint32_t left = kParts; left >= kParts / 2; --left) {
    const auto pages = static_cast<uint32_t>(uint64_t{wanted} * left / kParts);
    if (pages < least && left < kParts) break;
    status = make(pages);
    if (status.ok()) return pages;
    if (!absl::IsResourceExhausted(status)) break;
  }
  return status;
}

}  // namespace headgate
