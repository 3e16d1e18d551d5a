// A rank's page tables: which page holds which positions of which row. Owns ids, not bytes.
//
// One step: BeginStep (pages for the worst case) -> kernels read Row() and write the chunk's
// positions -> Commit. Chunk positions are read by attention from the step's own K/V, not from
// pages: a kernel attends first, then writes the positions that a later query can still see. So a
// streaming row never needs more than its sinks and ring, whatever the chunk size. (A gated row
// writes its whole chunk: what survives is decided at Commit.)
//
// How many pages a full or streaming row holds is WorstCasePages of its length: it depends on the
// length alone, not on how the sequence was cut into chunks.
//
// Steps run in order on one device, so a page freed by Commit or Release may be given out by the
// next BeginStep: its earlier readers come first. Not thread safe: the worker's step thread owns
// it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ids.h"
#include "base/step.h"
#include "kvstore/kv_layout.h"
#include "kvstore/row_table.h"

namespace headgate {

class PageStore {
 public:
  // Whether a gated row keeps the token at `position`, which has just left its window. `head`
  // counts this rank's kv heads of the layer.
  using Keep =
      absl::FunctionRef<bool(SequenceId sequence, int64_t layer, int64_t head, int64_t position)>;

  // INVALID_ARGUMENT when the layout is inconsistent (rows, windows not multiples of a page, ...).
  static absl::StatusOr<std::unique_ptr<PageStore>> Create(KvLayout layout, uint32_t pages_total);
  ~PageStore();

  // ALREADY_EXISTS when the sequence is known.
  absl::Status AddSequence(SequenceId sequence);

  // Allocates what writing every chunk may need. All or nothing: on RESOURCE_EXHAUSTED, NOT_FOUND
  // (unknown sequence) or INVALID_ARGUMENT (position is not the sequence's length, or two chunks of
  // one sequence) nothing changed. REQUIRES: no step is begun.
  absl::Status BeginStep(std::span<const Chunk> chunks);

  // The row as it was before the step; its table already has the slots that the step writes.
  // REQUIRES: the sequence is known.
  RowView Row(SequenceId sequence, int64_t layer, int64_t head) const;

  // The step's positions are written: lengths advance, pages that no query can see again are freed.
  // Gated rows keep the tokens that `keep` names, all of them without one. The copies, for gated
  // rows only, must run in order before the next step writes; valid until the next BeginStep.
  // REQUIRES: BeginStep succeeded and was not committed or aborted.
  std::span<const TokenCopy> Commit();
  std::span<const TokenCopy> Commit(Keep keep);

  // Undoes BeginStep: lengths stay, pages it took return.
  void Abort();

  // Frees every page of the sequence. NOT_FOUND when unknown. REQUIRES: it is not in a begun step.
  absl::Status Release(SequenceId sequence);

  // Forgets all sequences and the begun step, if any (a new epoch began).
  void Clear();

  // REQUIRES: the sequence is known.
  uint32_t PagesHeld(SequenceId sequence) const;
  int64_t Length(SequenceId sequence) const;

  // freed_by_policy counts the pages that full rows would have held on top. O(1).
  PageStats Stats() const;
  const KvLayout& layout() const;

  // Recounts every page from the tables. INTERNAL names the first page or row that is wrong.
  absl::Status CheckIntegrity() const;

 private:
  struct State;
  explicit PageStore(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace headgate
