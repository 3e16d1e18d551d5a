// The scheduler's count of one group's pages, per rank: numbers only, no page ids.
//
// Contract with the ranks (docs/kv_pages.md): reserve the worst case -> run -> settle with the
// pages that the ranks report. A sequence is charged, on each rank,
//
//   held at its last settled step  +  WorstCase(reserved tokens) - WorstCase(settled tokens)
//
// so several steps may be in flight, and what a policy freed counts only once it was reported. The
// pages of a released sequence stay charged until the step that carried the release is fenced:
//
//   total = free + held + reserved + pending_free      on every rank, always.
//
// Deterministic; no clock, no I/O. Not thread safe: the scheduler's thread owns it.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/group_shape.h"
#include "base/ids.h"

namespace headgate {

class PageLedger {
 public:
  class Scratch;

  // INVALID_ARGUMENT when the shape, which a worker sent, is inconsistent.
  static absl::StatusOr<PageLedger> Create(const GroupShape& shape);

  int ranks() const { return static_cast<int>(ranks_.size()); }
  int64_t page_tokens() const { return page_tokens_; }

  // Pages that a sequence of `tokens` positions needs on a rank, no eviction credited.
  int64_t WorstCase(int rank, int64_t tokens) const;
  // Whether a sequence of `tokens` positions fits every rank when nothing else runs.
  bool FitsEver(int64_t tokens) const;

  // Charges the sequence for `tokens_after` positions on every rank: all ranks or none, false when
  // any is short. The first call begins the sequence. REQUIRES: tokens_after never shrinks.
  bool TryReserve(SequenceId sequence, int64_t tokens_after);
  // Makes a plan's reservations. REQUIRES: the ledger has not changed since the scratch began.
  void Commit(const Scratch& scratch);

  // A step is done: the sequence has `tokens` positions and holds held[rank] pages.
  // NOT_FOUND: the sequence is not live, a late report to be ignored and counted. INVALID_ARGUMENT:
  // the report breaks the contract (more pages or tokens than reserved); nothing changed.
  absl::Status Settle(SequenceId sequence, int64_t tokens, std::span<const uint32_t> held);

  // The plan of `step` carries the sequence's release; its pages are free once that step is fenced,
  // at once when it was already (a sequence that no worker has seen). NOT_FOUND when not live.
  // REQUIRES: `step` never decreases.
  absl::Status ReleaseAt(SequenceId sequence, StepId step);
  // Every rank has finished all steps up to `step`.
  void Fence(StepId step);

  int64_t Total(int rank) const { return rank_at(rank).total; }
  int64_t Free(int rank) const;
  int64_t Held(int rank) const { return rank_at(rank).held; }
  int64_t Reserved(int rank) const { return rank_at(rank).reserved; }
  int64_t PendingFree(int rank) const { return rank_at(rank).pending; }
  int64_t Sequences() const { return static_cast<int64_t>(sequences_.size()); }

  // Recounts every rank from the sequences. INTERNAL names the first rank that does not add up.
  absl::Status CheckIntegrity() const;

 private:
  using PerRank = absl::InlinedVector<int64_t, 8>;

  struct StreamingRows {
    int64_t rows = 0;
    int64_t resident = 0;  // most pages of one such row
  };
  struct Rank {
    int64_t total = 0;
    int64_t growing_rows = 0;  // full and gated: a page for every page_tokens positions
    std::vector<StreamingRows> streaming;
    int64_t held = 0;
    int64_t reserved = 0;
    int64_t pending = 0;
  };
  // Charges depend on whole pages only, so tokens are kept as pages of a full row.
  struct Sequence {
    int64_t pages_reserved = 0;
    int64_t pages_settled = 0;
    PerRank held;
  };
  struct PendingRelease {
    StepId step = 0;
    PerRank pages;
  };

  PageLedger() = default;

  const Rank& rank_at(int rank) const { return ranks_[static_cast<size_t>(rank)]; }
  int64_t PagesOf(int64_t tokens) const { return (tokens + page_tokens_ - 1) / page_tokens_; }
  static int64_t WorstCaseOfPages(const Rank& rank, int64_t pages);
  int64_t PagesReserved(SequenceId sequence) const;  // 0 when not live

  int64_t page_tokens_ = 1;
  std::vector<Rank> ranks_;
  absl::flat_hash_map<SequenceId, Sequence> sequences_;
  std::deque<PendingRelease> pending_;  // by step
  StepId fenced_ = 0;
  uint64_t version_ = 0;  // counts changes, so that a stale scratch is noticed
};

// Reservations tried out on top of a ledger that does not change meanwhile: plan here, then commit.
// Costs what it touches.
class PageLedger::Scratch {
 public:
  // `ledger` must outlive the scratch.
  explicit Scratch(const PageLedger& ledger);

  // As PageLedger::TryReserve.
  bool TryReserve(SequenceId sequence, int64_t tokens_after);
  // Forgets what this scratch reserved for the sequence (it is not part of the plan after all).
  void Cancel(SequenceId sequence);

  int64_t Free(int rank) const;
  uint64_t version() const { return version_; }  // of the ledger when the scratch began
  // Sequence -> what it would be charged for, in pages of a full row.
  const absl::flat_hash_map<SequenceId, int64_t>& touched() const { return touched_; }

 private:
  const PageLedger* ledger_;
  uint64_t version_;
  PerRank taken_;  // pages reserved here, by rank
  absl::flat_hash_map<SequenceId, int64_t> touched_;
};

}  // namespace headgate
