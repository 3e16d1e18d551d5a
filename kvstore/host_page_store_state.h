// What a HostPageStore is made of; included by host_page_store*.cc only.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "base/check.h"
#include "kvstore/host_page_store.h"
#include "kvstore/page_pool.h"

namespace headgate {

// Rows that share a spec need new pages at the same lengths: a step asks once per class, and
// touches rows only when a page begins.
struct RowClass {
  RowSpec spec;
  std::vector<int32_t> rows;  // indices into KvLayout::rows
};

struct RowPlace {
  int64_t layer = 0;
  int64_t head = 0;
};

struct StoredSequence {
  SequenceId id = 0;
  int64_t length = 0;   // positions written
  int64_t writing = 0;  // length after the begun step; == length when it has no chunk in it
  int64_t pages_held = 0;
  std::vector<RowTable> rows;
};

inline size_t Index(HeadClass head_class) { return static_cast<size_t>(head_class); }

// Pages of a gated row that have left the window once `length` positions are written.
inline int64_t ExitedPages(const RowSpec& row, int64_t length, int64_t page_tokens) {
  if (row.head_class != HeadClass::kGated) return 0;
  return (WindowStart(row, length, page_tokens) - row.sinks) / page_tokens;
}

// Bookkeeping of the store; the operations are in host_page_store.cc.
struct HostPageStore::State {
  State(KvLayout layout_in, uint32_t pages_total)
      : layout(std::move(layout_in)), pool(pages_total) {}

  StoredSequence& Find(SequenceId sequence) const {
    const auto it = sequences.find(sequence);
    CHECK(it != sequences.end()) << "unknown sequence " << sequence;
    return *it->second;
  }
  // Pages that a row adds when its sequence grows.
  int64_t Growth(const RowSpec& row, int64_t from, int64_t to) const {
    return WorstCasePages(row, to, layout.page_tokens) -
           WorstCasePages(row, from, layout.page_tokens);
  }
  absl::Status OpenStep(std::span<const Chunk> chunks);
  void CloseStep();
  void Hold(StoredSequence& sequence, HeadClass head_class, int64_t pages);
  void RetireGated(StoredSequence& sequence, const RowClass& rows, Keep keep);
  absl::Status CheckRows(const StoredSequence& sequence, std::vector<uint32_t>& references,
                         std::array<int64_t, 3>& by_class) const;

  const KvLayout layout;
  PagePool pool;
  std::vector<RowClass> classes;
  std::vector<RowPlace> places;  // of each row
  absl::flat_hash_map<SequenceId, std::unique_ptr<StoredSequence>> sequences;

  bool begun = false;
  std::vector<StoredSequence*> step;  // sequences of the begun step
  std::vector<PageId> taken;          // scratch of BeginStep
  std::vector<TokenCopy> copies;      // of the last Commit

  std::array<int64_t, 3> held = {};  // by HeadClass
  uint32_t peak_referenced = 0;
  uint64_t freed_by_policy = 0;
  uint64_t freed_by_release = 0;
};

}  // namespace headgate
