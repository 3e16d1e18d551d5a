// A rank's pages: which page holds which positions of which row. Owns ids, not bytes.
//
// One step: BeginStep (pages for the worst case) -> kernels read the rows and write the chunk's
// positions -> Commit. Chunk positions are read by attention from the step's own K/V, not from
// pages: a kernel attends first, then writes the positions that a later query can still see. So a
// streaming row never needs more than its sinks and ring, whatever the chunk size. (A gated row
// writes its whole chunk: what survives is decided at Commit.)
//
// How many pages a full or streaming row holds is WorstCasePages of its length: it depends on the
// length alone, not on how the sequence was cut into chunks.
//
// Where the tables lie is the device's choice: in host memory (host_page_store.h) or beside the
// pages (worker/cuda). Steps run in order on one device, so a page freed by Commit or Release may
// be given out by the next BeginStep: its earlier readers come first. Not thread safe: the worker's
// step thread owns it.
#pragma once

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "base/group_shape.h"
#include "base/ids.h"
#include "base/step.h"
#include "kvstore/kv_layout.h"

namespace headgate {

class PageStore {
 public:
  virtual ~PageStore() = default;

  // Most sequences at once, at least 1; kSequencesUnlimited where tables grow as they must.
  virtual int64_t sequences_max() const = 0;

  // ALREADY_EXISTS when the sequence is known; RESOURCE_EXHAUSTED beyond sequences_max.
  virtual absl::Status AddSequence(SequenceId sequence) = 0;

  // Allocates what writing every chunk may need. All or nothing: on RESOURCE_EXHAUSTED, NOT_FOUND
  // (unknown sequence) or INVALID_ARGUMENT (position is not the sequence's length, or two chunks of
  // one sequence) nothing changed. REQUIRES: no step is begun.
  virtual absl::Status BeginStep(std::span<const Chunk> chunks) = 0;

  // The step's positions are written: lengths advance, pages that no query can see again are freed.
  // REQUIRES: BeginStep succeeded and was not committed or aborted.
  virtual void Commit() = 0;

  // Undoes BeginStep: lengths stay, pages it took return.
  virtual void Abort() = 0;

  // Frees every page of the sequence. NOT_FOUND when unknown. REQUIRES: it is not in a begun step.
  virtual absl::Status Release(SequenceId sequence) = 0;

  // Forgets all sequences and the begun step, if any (a new epoch began).
  virtual void Clear() = 0;

  // REQUIRES: the sequence is known.
  virtual uint32_t PagesHeld(SequenceId sequence) const = 0;
  virtual int64_t Length(SequenceId sequence) const = 0;

  // freed_by_policy counts the pages that full rows would have held on top. O(1).
  virtual PageStats Stats() const = 0;
  virtual const KvLayout& layout() const = 0;

  // Recounts every page from the tables. INTERNAL names the first page or row that is wrong.
  virtual absl::Status CheckIntegrity() const = 0;
};

}  // namespace headgate
