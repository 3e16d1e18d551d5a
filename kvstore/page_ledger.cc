#include "kvstore/page_ledger.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "kvstore/visibility.h"

namespace headgate {
namespace {

// Limits that keep rows * pages far from overflow.
constexpr int64_t kRowsMax = int64_t{1} << 20;
constexpr int64_t kTokensMax = int64_t{1} << 30;

absl::Status CheckGroup(const RowGroup& group, int64_t page_tokens) {
  if (group.head_class == HeadClass::kFull) return absl::OkStatus();
  const bool fits = group.sinks >= 0 && group.sinks <= kTokensMax && group.window <= kTokensMax &&
                    group.window >= page_tokens && group.sinks % page_tokens == 0 &&
                    group.window % page_tokens == 0;
  if (fits) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("sinks ", group.sinks, " and window ",
                                                 group.window, " are not multiples of page_tokens ",
                                                 page_tokens));
}

}  // namespace

absl::StatusOr<PageLedger> PageLedger::Create(const GroupShape& shape) {
  if (!(1 <= shape.page_tokens && shape.page_tokens <= kTokensMax) || shape.ranks.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("group shape: page_tokens ", shape.page_tokens,
                                                   ", ", shape.ranks.size(), " ranks"));
  }
  PageLedger ledger;
  ledger.page_tokens_ = shape.page_tokens;
  for (const RankShape& from : shape.ranks) {
    Rank& rank = ledger.ranks_.emplace_back();
    rank.total = from.pages_total;
    int64_t rows = 0;
    for (const RowGroup& group : from.rows) {
      absl::Status valid = CheckGroup(group, shape.page_tokens);
      rows += group.rows;
      if (valid.ok() && rows > kRowsMax) valid = absl::InvalidArgumentError("too many rows");
      if (!valid.ok()) {
        return absl::InvalidArgumentError(
            absl::StrCat("group shape: rank ", ledger.ranks() - 1, ": ", valid.message()));
      }
      if (group.head_class == HeadClass::kStreaming) {
        const RowSpec spec{group.head_class, group.sinks, group.window};
        rank.streaming.push_back({group.rows, ResidentPages(spec, shape.page_tokens)});
      } else {
        rank.growing_rows += group.rows;
      }
    }
  }
  return ledger;
}

int64_t PageLedger::WorstCaseOfPages(const Rank& rank, int64_t pages) {
  int64_t sum = rank.growing_rows * pages;
  for (const StreamingRows& group : rank.streaming) {
    sum += group.rows * std::min(pages, group.resident);
  }
  return sum;
}

int64_t PageLedger::WorstCase(int rank, int64_t tokens) const {
  CHECK(0 <= tokens && tokens <= kTokensMax) << tokens << " tokens";
  return WorstCaseOfPages(rank_at(rank), PagesOf(tokens));
}

bool PageLedger::FitsEver(int64_t tokens) const {
  if (!(0 <= tokens && tokens <= kTokensMax)) return false;
  return std::all_of(ranks_.begin(), ranks_.end(), [pages = PagesOf(tokens)](const Rank& rank) {
    return WorstCaseOfPages(rank, pages) <= rank.total;
  });
}

int64_t PageLedger::Free(int rank) const {
  const Rank& at = rank_at(rank);
  return at.total - at.held - at.reserved - at.pending;
}

int64_t PageLedger::PagesReserved(SequenceId sequence) const {
  const auto it = sequences_.find(sequence);
  return it == sequences_.end() ? 0 : it->second.pages_reserved;
}

bool PageLedger::TryReserve(SequenceId sequence, int64_t tokens_after) {
  Scratch scratch(*this);
  if (!scratch.TryReserve(sequence, tokens_after)) return false;
  Commit(scratch);
  return true;
}

void PageLedger::Commit(const Scratch& scratch) {
  CHECK_EQ(scratch.version(), version_) << "the ledger changed under a plan";
  if (scratch.touched().empty()) return;
  ++version_;
  for (const auto& [sequence, pages] : scratch.touched()) {
    Sequence& entry = sequences_[sequence];
    if (entry.held.empty()) entry.held.resize(ranks_.size(), 0);
    for (Rank& rank : ranks_) {
      rank.reserved += WorstCaseOfPages(rank, pages) - WorstCaseOfPages(rank, entry.pages_reserved);
    }
    entry.pages_reserved = pages;
  }
  for (int rank = 0; rank < ranks(); ++rank) CHECK_GE(Free(rank), 0) << "rank " << rank;
}

absl::Status PageLedger::Settle(SequenceId sequence, int64_t tokens,
                                std::span<const uint32_t> held) {
  const auto it = sequences_.find(sequence);
  if (it == sequences_.end()) return absl::NotFoundError("the sequence is not live");
  Sequence& entry = it->second;
  const int64_t pages = tokens >= 0 && tokens <= kTokensMax ? PagesOf(tokens) : -1;
  if (held.size() != ranks_.size() ||
      !(entry.pages_settled <= pages && pages <= entry.pages_reserved)) {
    return absl::InvalidArgumentError(absl::StrCat("report of sequence ", sequence, ": ", tokens,
                                                   " tokens on ", held.size(),
                                                   " ranks was not planned"));
  }
  const auto grown = [&](const Rank& rank) {
    return WorstCaseOfPages(rank, pages) - WorstCaseOfPages(rank, entry.pages_settled);
  };
  for (size_t i = 0; i < ranks_.size(); ++i) {
    const int64_t allowed = entry.held[i] + grown(ranks_[i]);
    if (!(held[i] <= allowed)) {
      return absl::InvalidArgumentError(
          absl::StrCat("report of sequence ", sequence, ": rank ", i, " holds ", held[i],
                       " pages after ", tokens, " tokens, at most ", allowed, " were reserved"));
    }
  }
  for (size_t i = 0; i < ranks_.size(); ++i) {
    ranks_[i].reserved -= grown(ranks_[i]);
    ranks_[i].held += held[i] - entry.held[i];
    entry.held[i] = held[i];
  }
  entry.pages_settled = pages;
  ++version_;
  return absl::OkStatus();
}

absl::Status PageLedger::ReleaseAt(SequenceId sequence, StepId step) {
  const auto it = sequences_.find(sequence);
  if (it == sequences_.end()) return absl::NotFoundError("the sequence is not live");
  const Sequence& entry = it->second;
  PendingRelease release{.step = step, .pages = PerRank(ranks_.size(), 0)};
  for (size_t i = 0; i < ranks_.size(); ++i) {
    Rank& rank = ranks_[i];
    const int64_t unsettled =
        WorstCaseOfPages(rank, entry.pages_reserved) - WorstCaseOfPages(rank, entry.pages_settled);
    release.pages[i] = entry.held[i] + unsettled;
    rank.held -= entry.held[i];
    rank.reserved -= unsettled;
    rank.pending += release.pages[i];
  }
  sequences_.erase(it);
  const bool waits = step > fenced_;
  CHECK(!waits || pending_.empty() || pending_.back().step <= step) << "step order, at " << step;
  if (waits) {
    pending_.push_back(std::move(release));
  } else {
    for (size_t i = 0; i < ranks_.size(); ++i) ranks_[i].pending -= release.pages[i];
  }
  ++version_;
  return absl::OkStatus();
}

void PageLedger::Fence(StepId step) {
  fenced_ = std::max(fenced_, step);
  while (!pending_.empty() && pending_.front().step <= fenced_) {
    for (size_t i = 0; i < ranks_.size(); ++i) ranks_[i].pending -= pending_.front().pages[i];
    pending_.pop_front();
    ++version_;
  }
}

absl::Status PageLedger::CheckIntegrity() const {
  for (size_t i = 0; i < ranks_.size(); ++i) {
    const Rank& rank = ranks_[i];
    int64_t held = 0;
    int64_t reserved = 0;
    int64_t pending = 0;
    for (const auto& [id, entry] : sequences_) {
      held += entry.held[i];
      reserved += WorstCaseOfPages(rank, entry.pages_reserved) -
                  WorstCaseOfPages(rank, entry.pages_settled);
    }
    for (const PendingRelease& release : pending_) pending += release.pages[i];
    if (held != rank.held || reserved != rank.reserved || pending != rank.pending ||
        Free(static_cast<int>(i)) < 0) {
      return absl::InternalError(absl::StrCat("page ledger: rank ", i, ": recounted held ", held,
                                              ", reserved ", reserved, ", pending ", pending,
                                              "; booked ", rank.held, ", ", rank.reserved, ", ",
                                              rank.pending, " of ", rank.total));
    }
  }
  return absl::OkStatus();
}

PageLedger::Scratch::Scratch(const PageLedger& ledger)
    : ledger_(&ledger), version_(ledger.version_), taken_(ledger.ranks_.size(), 0) {}

int64_t PageLedger::Scratch::Free(int rank) const {
  return ledger_->Free(rank) - taken_[static_cast<size_t>(rank)];
}

bool PageLedger::Scratch::TryReserve(SequenceId sequence, int64_t tokens_after) {
  CHECK(0 < tokens_after && tokens_after <= kTokensMax) << tokens_after << " tokens";
  const int64_t pages = ledger_->PagesOf(tokens_after);
  const auto touched = touched_.find(sequence);
  const int64_t before =
      touched != touched_.end() ? touched->second : ledger_->PagesReserved(sequence);
  CHECK_LE(before, pages) << "sequence " << sequence << " shrinks";
  if (before == pages) return true;
  for (int i = 0; i < ledger_->ranks(); ++i) {
    const Rank& rank = ledger_->rank_at(i);
    if (WorstCaseOfPages(rank, pages) - WorstCaseOfPages(rank, before) > Free(i)) return false;
  }
  for (int i = 0; i < ledger_->ranks(); ++i) {
    const Rank& rank = ledger_->rank_at(i);
    taken_[static_cast<size_t>(i)] +=
        WorstCaseOfPages(rank, pages) - WorstCaseOfPages(rank, before);
  }
  touched_[sequence] = pages;
  return true;
}

void PageLedger::Scratch::Cancel(SequenceId sequence) {
  const auto touched = touched_.find(sequence);
  if (touched == touched_.end()) return;
  const int64_t before = ledger_->PagesReserved(sequence);
  for (int i = 0; i < ledger_->ranks(); ++i) {
    const Rank& rank = ledger_->rank_at(i);
    taken_[static_cast<size_t>(i)] -=
        WorstCaseOfPages(rank, touched->second) - WorstCaseOfPages(rank, before);
  }
  touched_.erase(touched);
}

}  // namespace headgate
