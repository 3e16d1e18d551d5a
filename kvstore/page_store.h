// A rank's page tables: which page holds which positions of which row. Owns ids, not bytes.
//
// One step: BeginStep (pages for the worst case) -> kernels read Row() and write the chunk's
// positions -> Commit. Chunk positions are read by attention from the step's own K/V, not from
// pages: a kernel attends first, then writes the positions that a later query can still see. So a
// streaming row never needs more than its sinks and ring, whatever the chunk size.
//
// Not thread safe: the worker's step thread owns it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ids.h"
#include "base/step.h"
#include "kvstore/kv_layout.h"

namespace headgate {

class PageStore {
 public:
  // INVALID_ARGUMENT when the layout is inconsistent (rows, windows not multiples of a page, ...).
  static absl::StatusOr<std::unique_ptr<PageStore>> Create(KvLayout layout, uint32_t pages_total);
  ~PageStore();

  // ALREADY_EXISTS when the sequence is known.
  absl::Status AddSequence(SequenceId sequence);

  // Allocates what writing every chunk may need. All or nothing: on RESOURCE_EXHAUSTED, NOT_FOUND
  // (unknown sequence) or INVALID_ARGUMENT (position is not the sequence's length) nothing changed.
  absl::Status BeginStep(std::span<const Chunk> chunks);

  // The row as it was before the step; its table already has the slots that the step writes.
  RowView Row(SequenceId sequence, int64_t layer, int64_t head) const;

  // The step's positions are written: lengths advance, pages that no query can see again are freed.
  // REQUIRES: BeginStep succeeded and was not committed or aborted.
  void Commit();

  // Undoes BeginStep: lengths stay, pages it took return.
  void Abort();

  // Frees every page of the sequence. NOT_FOUND when unknown.
  absl::Status Release(SequenceId sequence);

  // Forgets all sequences (a new epoch began).
  void Clear();

  uint32_t PagesHeld(SequenceId sequence) const;
  int64_t Length(SequenceId sequence) const;
  PageStats Stats() const;
  const KvLayout& layout() const;

  // Recounts every page from the tables. INTERNAL names the first page held twice, lost or leaked.
  absl::Status CheckIntegrity() const;

 private:
  struct State;
  explicit PageStore(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace headgate
