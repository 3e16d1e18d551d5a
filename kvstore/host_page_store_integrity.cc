// HostPageStore::CheckIntegrity: recounts everything from the tables.
#include <array>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "kvstore/host_page_store_state.h"

namespace headgate {

// Checks the shape of each row of a sequence, and adds its pages to the counts.
absl::Status HostPageStore::State::CheckRows(const StoredSequence& sequence,
                                             std::vector<uint32_t>& references,
                                             std::array<int64_t, 3>& by_class) const {
  int64_t pages_held = 0;
  for (size_t i = 0; i < sequence.rows.size(); ++i) {
    const RowSpec& spec = layout.rows[i];
    const RowTable& row = sequence.rows[i];
    const int64_t exited = ExitedPages(spec, sequence.length, layout.page_tokens);
    const int64_t slots = WorstCasePages(spec, sequence.writing, layout.page_tokens) - exited;
    const int64_t kept = (row.kept_tokens() + layout.page_tokens - 1) / layout.page_tokens;
    if (static_cast<int64_t>(row.table().size()) != slots ||
        static_cast<int64_t>(row.kept().size()) != kept || kept > exited) {
      return absl::InternalError(absl::StrCat(
          "page store: sequence ", sequence.id, ", layer ", places[i].layer, ", kv head ",
          places[i].head, ": ", row.table().size(), " pages for ", slots, " slots, ",
          row.kept().size(), " kept pages for ", row.kept_tokens(), " tokens"));
    }
    for (const PageId page : row.table()) ++references[page];
    for (const PageId page : row.kept()) ++references[page];
    by_class[Index(spec.head_class)] += row.pages();
    pages_held += row.pages();
  }
  if (pages_held == sequence.pages_held) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("page store: sequence ", sequence.id, " holds ",
                                          pages_held, " pages, booked ", sequence.pages_held));
}

absl::Status HostPageStore::CheckIntegrity() const {
  const State& s = *state_;
  std::vector<uint32_t> references(s.pool.total(), 0);
  std::array<int64_t, 3> by_class = {};
  for (const auto& [id, sequence] : s.sequences) {
    RETURN_IF_ERROR(s.CheckRows(*sequence, references, by_class));
  }
  uint32_t free = 0;
  for (PageId page = 0; page < s.pool.total(); ++page) {
    if (references[page] != s.pool.references(page)) {
      return absl::InternalError(absl::StrCat("page store: page ", page, " is held ",
                                              references[page], " times, booked ",
                                              s.pool.references(page)));
    }
    if (references[page] == 0) ++free;
  }
  if (free != s.pool.free() || by_class != s.held) {
    return absl::InternalError(absl::StrCat("page store: ", free, " pages are free, booked ",
                                            s.pool.free(), ", or a class is miscounted"));
  }
  return absl::OkStatus();
}

}  // namespace headgate
