// Requests come in, are cancelled, or run out of time. See scheduler_state.h.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "scheduler/admission.h"
#include "scheduler/planted_bug.h"
#include "scheduler/scheduler_state.h"

namespace headgate {

void Scheduler::State::Submit(Request request, absl::Time now) {
  if (absl::Status status = CheckFields(request, config.prompt_tokens_max); !status.ok()) {
    marks.Visit(Mark::kRefusedInvalid);
    return Refuse(request, std::move(status), absl::ZeroDuration());
  }
  if (absl::Status status = CheckFits(request, groups); !status.ok()) {
    marks.Visit(Mark::kRefusedNeverFits);
    return Refuse(request, std::move(status), absl::ZeroDuration());
  }
  if (static_cast<int64_t>(waiting.size()) >= config.waiting_limit) {
    marks.Visit(Mark::kRefusedFull);
    return Refuse(request,
                  absl::ResourceExhaustedError(absl::StrCat("the queue holds ", waiting.size(),
                                                            " requests, its limit; retry later")),
                  retry.RetryAfter(static_cast<int64_t>(waiting.size())));
  }
  request.deadline = std::min(request.deadline, now + config.deadline_max);
  if (!request.emitted.empty()) marks.Visit(Mark::kReplaySubmitted);
  const OrderKey order{request.priority, next_arrival++};
  LiveRequest& live = requests.Add(std::move(request), order);
  waiting.Add(live);
  if (waiting.tiers() > 1 && !live.work_left()) Complete(live, now);  // else Retier() looks again
}

void Scheduler::State::Refuse(const Request& request, absl::Status status,
                              absl::Duration retry_after) {
  ++(status.code() == absl::StatusCode::kResourceExhausted ? stats.refused_full
                                                           : stats.refused_invalid);
  TokenEvent event;
  event.request = request.id;
  event.finish = FinishReason::kError;
  event.status = std::move(status);
  event.retry_after = retry_after;
  actions.events.push_back(std::move(event));
}

void Scheduler::State::Cancel(RequestId id) {
  const size_t dropped =
      std::erase_if(actions.events, [id](const TokenEvent& event) { return event.request == id; });
  if (dropped > 0) marks.Visit(Mark::kCancelDropsEvents);
  LiveRequest* live = requests.Find(id);
  if (live == nullptr) return marks.Visit(Mark::kCancelUnknown);
  ++stats.cancelled;
  if (live->running()) {
    Group& group = group_at(live->group);
    Sequence& sequence = *group.running.Find(live->sequence);
    marks.Visit(sequence.started() ? Mark::kCancelRunning : Mark::kCancelUnstarted);
    if (PlantedBug(Bug::kLeakOnCancel) && sequence.samples_done == 0) {
      group.running.Erase(sequence.id);
    } else {
      Vacate(group, sequence);
    }
  } else {
    marks.Visit(live->preemptions > 0 ? Mark::kCancelPreempted : Mark::kCancelWaiting);
    waiting.Erase(*live);
  }
  requests.Erase(id);
}

void Scheduler::State::ExpireDeadlines(absl::Time now) {
  if (PlantedBug(Bug::kQueuedDeadlineIgnored)) {
    LiveRequest* first = requests.FirstExpired(now);
    if (first == nullptr || !first->running()) return;
  }
  while (LiveRequest* live = requests.FirstExpired(now)) {
    marks.Visit(live->running() ? Mark::kDeadlineRunning : Mark::kDeadlineWaiting);
    ++stats.deadline_exceeded;
    Fail(*live,
         absl::DeadlineExceededError(absl::StrCat("deadline passed after ", live->emitted_tokens(),
                                                  " of at most ", live->request.max_tokens,
                                                  " tokens")),
         now);
  }
}

void Scheduler::State::Fail(LiveRequest& live, absl::Status status, absl::Time now) {
  TokenEvent event;
  event.finish = FinishReason::kError;
  event.status = std::move(status);
  End(live, std::move(event), now);
}

void Scheduler::State::Complete(LiveRequest& live, absl::Time now) {
  if (!live.running()) marks.Visit(Mark::kFinishedAtOnce);
  const bool stopped = live.emitted_tokens() < live.request.max_tokens;
  TokenEvent event;
  event.finish = stopped ? FinishReason::kStop : FinishReason::kLength;
  End(live, std::move(event), now);
}

void Scheduler::State::End(LiveRequest& live, TokenEvent last, absl::Time now) {
  last.request = live.request.id;
  if (live.request.score && last.finish != FinishReason::kError) {
    last.prompt_logprobs = std::move(live.prompt_logprobs);
    last.prompt_top = std::move(live.prompt_top);
  }
  actions.events.push_back(std::move(last));
  if (live.running()) {
    Group& group = group_at(live.group);
    Vacate(group, *group.running.Find(live.sequence));
  } else {
    waiting.Erase(live);
  }
  retry.Finished(now);
  requests.Erase(live.request.id);
}

}  // namespace headgate
