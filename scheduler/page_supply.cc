// Who gets pages: running sequences first, at the cost of the youngest of them; then waiting
// requests, in order, with a bounded look past those that do not fit now. See scheduler_state.h.
#include <algorithm>
#include <optional>
#include <span>
#include <vector>

#include "base/check.h"
#include "scheduler/admission.h"
#include "scheduler/admission_round.h"
#include "scheduler/page_reservation.h"
#include "scheduler/planted_bug.h"
#include "scheduler/router.h"
#include "scheduler/scheduler_state.h"

namespace headgate {
namespace {

// Admissions past the first of the queue before the groups that could serve it are kept for it.
constexpr int64_t kPassedOverMax = 64;

int64_t PrefillBacklog(const Group& group) {
  int64_t tokens = 0;
  for (const auto& sequence : group.running.oldest_first()) {
    tokens += std::max<int64_t>(0, sequence->prefill_left());
  }
  return tokens;
}

// Which groups may take a request now, and how much prefill they have before them.
struct OpenGroups {
  std::vector<uint8_t> open;     // by group
  std::vector<int64_t> backlog;  // by group, tokens
  std::vector<uint8_t> served;   // by tier of the queue: some open group serves it

  bool any() const { return std::find(open.begin(), open.end(), uint8_t{1}) != open.end(); }
};

void FindServed(const WaitingQueue& waiting, std::span<const Group> groups, OpenGroups& state) {
  state.served.assign(waiting.tiers(), 0);
  for (size_t i = 0; i < groups.size(); ++i) {
    if (state.open[i] == 0) continue;
    for (size_t tier = 0; tier < waiting.tiers(); ++tier) {
      state.served[tier] |= waiting.Serves(groups[i].tokens_max, tier);
    }
  }
}

}  // namespace

bool Scheduler::State::CanPlan(const Group& group) const {
  return group.up && static_cast<int64_t>(group.in_flight.size()) < config.steps_in_flight;
}

bool Scheduler::State::AnyCanPlan() const {
  return std::any_of(groups.begin(), groups.end(),
                     [this](const Group& group) { return CanPlan(group); });
}

void Scheduler::State::ReserveRunning(Group& group) {
  for (;;) {  // ends: each round but the last removes a sequence
    DecodeReservation tried = ReserveDecodes(*group.ledger, group.running.oldest_first(), marks);
    if (tried.victim.has_value()) {
      Preempt(group, *group.running.oldest_first()[*tried.victim]);
      continue;
    }
    group.ledger->Commit(tried.scratch);
    for (const size_t index : tried.grown) {
      Sequence& sequence = *group.running.oldest_first()[index];
      sequence.tokens_reserved = sequence.tokens_planned + 1;
    }
    group.starving = tried.starving;
    return;
  }
}

int64_t Scheduler::State::RunningMax(const Group& group) const {
  // More sequences than step tokens could not all decode. A rank's place is free for the very plan
  // that carries the release of the sequence that had it: workers release before they start. So the
  // running sequences, unstarted ones among them, are at least those that any rank holds.
  return std::min({config.running_limit, config.step_tokens, group.sequences_max});
}

bool Scheduler::State::HasRoom(const Group& group, int64_t backlog) const {
  // More prefill than the pipeline takes only holds pages.
  return group.up && !group.starving && group.running.size() < RunningMax(group) &&
         backlog < config.step_tokens * config.steps_in_flight;
}

void Scheduler::State::AdmitWaiting() {
  if (waiting.empty()) return;
  OpenGroups state;
  for (const Group& group : groups) {
    state.backlog.push_back(PrefillBacklog(group));
    state.open.push_back(HasRoom(group, state.backlog.back()));
  }
  FindServed(waiting, groups, state);
  AdmissionRound round(waiting);
  LiveRequest* first_skipped = nullptr;
  while (LiveRequest* live = state.any() ? round.Next(state.served) : nullptr) {
    if (PlantedBug(Bug::kHeadBlocks) && live != waiting.First()) return;
    const std::optional<size_t> choice = ChooseGroup(*live, config.admission, groups, state.open);
    if (!choice.has_value()) {
      round.Skip();
      if (first_skipped == nullptr) first_skipped = live;
    } else {
      Group& group = groups[*choice];
      Admit(*live, group);
      state.backlog[*choice] += group.running.Find(live->sequence)->prefill_tokens;
      state.open[*choice] = HasRoom(group, state.backlog[*choice]);
      if (first_skipped != nullptr && first_skipped->tokens_max() <= group.tokens_max) {
        marks.Visit(Mark::kLookedPastHead);
        ++first_skipped->passed_over;
      }
    }
    if (first_skipped != nullptr && first_skipped->passed_over >= kPassedOverMax) {
      marks.Visit(Mark::kHeadClosesGroups);
      for (size_t i = 0; i < groups.size(); ++i) {
        if (first_skipped->tokens_max() <= groups[i].tokens_max) state.open[i] = 0;
      }
    }
    FindServed(waiting, groups, state);
  }
}

void Scheduler::State::Admit(LiveRequest& live, Group& group) {
  const int64_t tokens_left = live.tokens_left();
  Sequence sequence;
  sequence.id = next_sequence++;
  sequence.live = &live;
  sequence.first_token_index = live.emitted_tokens();
  sequence.samples_max = tokens_left;
  // A replay that has all its tokens comes for the prompt's log-probabilities only.
  sequence.prefill_tokens = live.prompt_tokens() + (tokens_left > 0 ? live.emitted_tokens() : 0);
  if (PlantedBug(Bug::kTokenRepeated) && tokens_left > 0 && live.emitted_tokens() > 0) {
    --sequence.prefill_tokens;
  }
  sequence.score_from = static_cast<int64_t>(live.prompt_logprobs.size());
  sequence.tokens_reserved = AdmissionTokens(live, config.admission, group.ledger->page_tokens());
  sequence.guaranteed = Guaranteed(live, config.admission);
  if (sequence.guaranteed) marks.Visit(Mark::kAdmittedGuaranteed);
  CHECK(group.ledger->TryReserve(sequence.id, sequence.tokens_reserved))
      << "group " << group.index << " was chosen without room";
  waiting.Erase(live);
  live.group = group.index;
  live.sequence = sequence.id;
  group.running.Add(sequence);
}

void Scheduler::State::Preempt(Group& group, Sequence& sequence) {
  LiveRequest& live = *sequence.live;
  if (sequence.started()) {
    ++live.preemptions;
    ++stats.preemptions;
    marks.Visit(Mark::kPreempted);
  } else {
    marks.Visit(Mark::kPreemptedUnstarted);  // nothing was computed: nothing is lost
  }
  Vacate(group, sequence);
  waiting.Add(live);
}

void Scheduler::State::Vacate(Group& group, const Sequence& sequence) {
  LiveRequest& live = *sequence.live;
  const SequenceId id = sequence.id;
  // No worker knows an unstarted one: its pages are free at once. The others' are when the step
  // that carries the release is done.
  const bool started = sequence.started();
  const StepId freed_at = started && !PlantedBug(Bug::kPendingCountedFree) ? group.next_step : 0;
  if (started) group.releases.push_back(id);
  const absl::Status released = group.ledger->ReleaseAt(id, freed_at);
  CHECK(released.ok()) << released.message();
  group.running.Erase(id);
  live.group = -1;
  live.sequence = 0;
}

}  // namespace headgate
