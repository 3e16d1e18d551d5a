#include "scheduler/page_reservation.h"

#include "scheduler/preemption.h"

namespace headgate {
namespace {

int64_t Pages(int64_t tokens, int64_t page_tokens) {
  return (tokens + page_tokens - 1) / page_tokens;
}

// Would the sequence fit once every release under way is done?
bool FitsWithPending(const PageLedger& ledger, const PageLedger::Scratch& scratch,
                     const Sequence& sequence, int64_t tokens) {
  for (int rank = 0; rank < ledger.ranks(); ++rank) {
    const int64_t need =
        ledger.WorstCase(rank, tokens) - ledger.WorstCase(rank, sequence.tokens_reserved);
    if (need > scratch.Free(rank) + ledger.PendingFree(rank)) return false;
  }
  return true;
}

}  // namespace

DecodeReservation ReserveDecodes(const PageLedger& ledger,
                                 std::span<const std::unique_ptr<Sequence>> oldest_first,
                                 SchedulerMarks& marks) {
  DecodeReservation out(ledger);
  const int64_t page_tokens = ledger.page_tokens();
  for (size_t i = 0; i < oldest_first.size(); ++i) {
    const Sequence& sequence = *oldest_first[i];
    const int64_t tokens = sequence.tokens_planned + 1;
    if (!sequence.decodes() || tokens <= sequence.tokens_reserved) continue;
    const bool grows = Pages(tokens, page_tokens) > Pages(sequence.tokens_reserved, page_tokens);
    if (grows && out.starving) {
      marks.Visit(Mark::kStalledBehindOlder);
      continue;
    }
    if (!grows || out.scratch.TryReserve(sequence.id, tokens)) {
      out.grown.push_back(i);
      continue;
    }
    if (FitsWithPending(ledger, out.scratch, sequence, tokens)) {
      marks.Visit(Mark::kStalledOnPending);
    } else if (out.victim = ChooseVictim(oldest_first, i); out.victim.has_value()) {
      return out;
    } else {
      marks.Visit(Mark::kStalledBehindGuaranteed);
    }
    out.starving = true;
  }
  return out;
}

}  // namespace headgate
