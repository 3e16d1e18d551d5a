// Groups come up with empty pools and go down with everything they held. See scheduler_state.h.
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "scheduler/admission.h"
#include "scheduler/scheduler_state.h"

namespace headgate {
namespace {

constexpr int64_t kPositionsMax = int64_t{1} << 29;  // the ledger counts up to 2^30 tokens

}  // namespace

void Scheduler::State::GroupUp(Group& group, const GroupShape& shape, absl::Time now) {
  if (group.known && shape.epoch <= group.shape.epoch) {
    marks.Visit(Mark::kGroupUpStale);
    ++stats.stale_messages;
    return;
  }
  absl::StatusOr<PageLedger> ledger = PageLedger::Create(shape);
  const bool sane =
      shape.vocab >= 1 && 1 <= shape.max_positions && shape.max_positions <= kPositionsMax;
  if (!ledger.ok() || !sane) {
    marks.Visit(Mark::kGroupShapeRefused);
    ++stats.stale_messages;
    return;
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
  group.next_step = 1;
  group.pages.assign(shape.ranks.size(), {});
  if (group.tokens_max == tokens_max_before && shape.vocab == vocab_before) return;

  std::vector<std::pair<LiveRequest*, absl::Status>> refused;
  for (const auto& [order, live] : waiting) {
    if (absl::Status status = CheckFits(live->request, groups); !status.ok()) {
      refused.emplace_back(live, std::move(status));
    }
  }
  for (auto& [live, status] : refused) {
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
