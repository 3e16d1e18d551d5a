// Recounting and statistics. See scheduler_state.h.
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "scheduler/planted_bug.h"
#include "scheduler/scheduler_state.h"

namespace headgate {

// vllm#45388: a group has nothing to do, somebody it could serve waits, and nothing will ever
// change that. An idle group has all its pages, so this cannot be.
void Scheduler::State::CheckProgress() const {
  if (waiting.empty() || PlantedBug(Bug::kHeadBlocks)) return;
  for (const Group& group : groups) {
    if (!group.up || !group.idle()) continue;
    for (size_t tier = 0; tier < waiting.tiers(); ++tier) {
      CHECK(!waiting.Serves(group.tokens_max, tier) || waiting.tier(tier).empty())
          << "group " << group.index << " is idle and request " << waiting.FirstOf(tier)->request.id
          << " waits";
    }
  }
}

absl::Status Scheduler::State::CheckGroup(const Group& group) const {
  const auto broken = [&group](const auto&... what) {
    return absl::InternalError(absl::StrCat("group ", group.index, ": ", what...));
  };
  if (!group.up) {
    return group.idle() ? absl::OkStatus() : broken("down, but not idle");
  }
  RETURN_IF_ERROR(group.ledger->CheckIntegrity());
  if (group.ledger->Sequences() != group.running.size()) {
    return broken("the ledger charges ", group.ledger->Sequences(), " sequences, ",
                  group.running.size(), " run");
  }
  if (static_cast<int64_t>(group.in_flight.size()) > config.steps_in_flight ||
      group.running.size() > RunningMax(group)) {
    return broken(group.in_flight.size(), " steps in flight, ", group.running.size(), " running");
  }
  const Sequence* older = nullptr;
  for (const auto& sequence : group.running.oldest_first()) {
    const LiveRequest& live = *sequence->live;
    if (live.group != group.index || live.sequence != sequence->id) {
      return broken("sequence ", sequence->id, " and its request disagree");
    }
    if (older != nullptr && !(older->live->order < live.order)) {
      return broken("sequence ", sequence->id, " is out of order");
    }
    if (sequence->tokens_planned > sequence->tokens_reserved ||
        sequence->samples_planned > sequence->samples_max ||
        sequence->samples_done > sequence->samples_planned ||
        live.emitted_tokens() != sequence->first_token_index + sequence->samples_done) {
      return broken("sequence ", sequence->id, " was planned beyond its pages or tokens");
    }
    older = sequence.get();
  }
  return absl::OkStatus();
}

absl::Status Scheduler::State::CheckIntegrity() const {
  size_t running = 0;
  for (const Group& group : groups) {
    RETURN_IF_ERROR(CheckGroup(group));
    running += static_cast<size_t>(group.running.size());
  }
  for (size_t tier = 0; tier < waiting.tiers(); ++tier) {
    for (const auto& [order, live] : waiting.tier(tier)) {
      if (!live->running()) continue;
      return absl::InternalError(absl::StrCat("request ", live->request.id, " waits and runs"));
    }
  }
  if (requests.size() != waiting.size() + running || requests.deadlines() != requests.size()) {
    return absl::InternalError(absl::StrCat(requests.size(), " live requests, ", waiting.size(),
                                            " waiting, ", running, " running, ",
                                            requests.deadlines(), " deadlines"));
  }
  return absl::OkStatus();
}

SchedulerStats Scheduler::State::Stats() const {
  SchedulerStats out = stats;
  out.requests_waiting = waiting.size();
  out.requests_waiting_limit = static_cast<uint64_t>(config.waiting_limit);
  out.groups_total = groups.size();
  for (const Group& group : groups) {
    out.requests_running += static_cast<uint64_t>(group.running.size());
    if (group.up) ++out.groups_ready;
    for (size_t rank = 0; rank < group.pages.size(); ++rank) {
      RankStats& to = out.ranks.emplace_back();
      to.group = group.index;
      to.rank = static_cast<int>(rank);
      to.pages = group.pages[rank];
      if (!group.up) continue;
      to.ledger_reserved = static_cast<uint32_t>(group.ledger->Reserved(static_cast<int>(rank)));
      to.ledger_held = static_cast<uint32_t>(group.ledger->Held(static_cast<int>(rank)));
    }
  }
  return out;
}

}  // namespace headgate
