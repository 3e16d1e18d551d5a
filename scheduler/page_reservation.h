// Pages for the next decode of every running sequence, tried out on a scratch ledger. Pure: the
// caller commits the outcome, or preempts a victim and tries again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "kvstore/page_ledger.h"
#include "scheduler/marks.h"
#include "scheduler/running_set.h"

namespace headgate {

struct DecodeReservation {
  explicit DecodeReservation(const PageLedger& ledger) : scratch(ledger) {}

  PageLedger::Scratch scratch;
  std::vector<size_t> grown;     // indices of sequences that get one more position
  bool starving = false;         // a sequence waits for pages that are on their way back
  std::optional<size_t> victim;  // index to preempt; then nothing else here counts
};

// Oldest first. The first sequence that finds no page waits when pages in release will do, and asks
// for a victim otherwise. Behind it nobody takes new pages: they are the older one's.
DecodeReservation ReserveDecodes(const PageLedger& ledger,
                                 std::span<const std::unique_ptr<Sequence>> oldest_first,
                                 SchedulerMarks& marks);

}  // namespace headgate
