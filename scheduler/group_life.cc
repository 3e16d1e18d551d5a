// Groups come up with empty pools and go down with everything they held. See scheduler_state.h.
#include <algorithm>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "scheduler/admission.h"
#include "scheduler/scheduler_state.h"

namespace headgate {
namespace {

constexpr int64_t kPositionsMax = int64_t{1} << 29;  // the ledger counts up to 2^30 tokens

// What each rank would report before its first step.
std::vector<PageStats> WholePools(const GroupShape& shape) {
  std::vector<PageStats> pools;
  for (const RankShape& rank : shape.ranks) {
    PageStats& pool = pools.emplace_back();
    pool.total = pool.free = rank.pages_total;
    pool.page_bytes = rank.page_bytes;
  }
  return pools;
}

}  // namespace

absl::Status Scheduler::State::GroupUp(Group& group, const GroupShape& shape, absl::Time now) {
  if (group.known && shape.epoch <= group.shape.epoch) {
    marks.Visit(Mark::kGroupUpStale);
    ++stats.stale_messages;
    return absl::FailedPreconditionError(
        absl::StrCat("epoch ", shape.epoch, " is not newer than ", group.shape.epoch));
  }
  absl::StatusOr<PageLedger> ledger = PageLedger::Create(shape);
  const int64_t sequences_max = MostSequences(shape);
  const bool sane = shape.vocab >= 1 && 1 <= shape.max_positions &&
                    shape.max_positions <= kPositionsMax && sequences_max >= 1;
  if (!ledger.ok() || !sane) {
    marks.Visit(Mark::kGroupShapeRefused);
    ++stats.stale_messages;
    if (!ledger.ok()) return ledger.status();
    return absl::InvalidArgumentError(absl::StrCat("group shape: vocab ", shape.vocab,
                                                   ", max_positions ", shape.max_positions,
                                                   ", sequences_max ", sequences_max));
  }
  if (group.up) {
    marks.Visit(Mark::kGroupUpWithoutDown);
    GroupDown(group);
  }
  if (group.known) ++stats.group_restarts;
  const int64_t tokens_max_before = group.known ? group.tokens_max : -1;
  const int64_t vocab_before = group.known ? group.shape.vocab : -1;
  group.known = true;
  group.up = true;
  group.shape = shape;
  group.ledger.emplace(*std::move(ledger));
  group.tokens_max = LongestSequence(shape, *group.ledger);
  group.sequences_max = sequences_max;
  group.next_step = 1;
  group.pages = WholePools(shape);
  if (group.tokens_max == tokens_max_before && shape.vocab == vocab_before) {
    return absl::OkStatus();
  }
  Retier(now);
  return absl::OkStatus();
}

// Capacities changed: the queue is sorted anew, and who fits nowhere any more is refused.
void Scheduler::State::Retier(absl::Time now) {
  std::vector<int64_t> longest;
  for (const Group& group : groups) {
    if (group.known) longest.push_back(group.tokens_max);
  }
  std::sort(longest.begin(), longest.end());
  longest.erase(std::unique(longest.begin(), longest.end()), longest.end());
  waiting.SetTiers(std::move(longest));

  std::vector<std::pair<LiveRequest*, absl::Status>> ended;
  for (size_t tier = 0; tier < waiting.tiers(); ++tier) {
    for (const auto& [order, live] : waiting.tier(tier)) {
      absl::Status status = CheckFits(live->request, groups);
      if (!status.ok() || !live->work_left()) ended.emplace_back(live, std::move(status));
    }
  }
  for (auto& [live, status] : ended) {
    if (status.ok()) {
      Complete(*live, now);
      continue;
    }
    marks.Visit(Mark::kRefusedAfterGroupUp);
    ++stats.refused_invalid;
    Fail(*live, std::move(status), now);
  }
}

void Scheduler::State::GroupDown(Group& group) {
  if (!group.up) return;
  group.up = false;
  if (!group.running.empty()) marks.Visit(Mark::kGroupLostSequences);
  for (const auto& sequence : group.running.oldest_first()) {
    LiveRequest& live = *sequence->live;
    if (sequence->started()) ++stats.replays;
    live.group = -1;
    live.sequence = 0;
    waiting.Add(live);
  }
  group.running = {};
  group.in_flight.clear();
  group.releases.clear();
  group.starving = false;
}

}  // namespace headgate
