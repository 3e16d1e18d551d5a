// What the ranks report becomes token events. Nothing that a worker sends can break an invariant
// here: a result is ignored, or ends its own request. See scheduler_state.h.
#include <algorithm>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "scheduler/planted_bug.h"
#include "scheduler/scheduler_state.h"

namespace headgate {

bool Scheduler::State::Expected(const Group& group, std::span<const StepResult> by_rank) {
  if (by_rank.empty() || !group.known || by_rank.size() != group.shape.ranks.size()) {
    marks.Visit(Mark::kMalformedResult);
    return false;
  }
  for (const StepResult& result : by_rank) {
    if (PlantedBug(Bug::kNoEpochCheck)) break;
    if (result.epoch == group.shape.epoch && group.up) continue;
    marks.Visit(Mark::kStaleEpoch);
    return false;
  }
  for (const StepResult& result : by_rank) {
    if (!group.in_flight.empty() && result.step == group.in_flight.front().step) continue;
    marks.Visit(Mark::kStaleStep);
    return false;
  }
  const std::vector<ChunkInFlight>& chunks = group.in_flight.front().chunks;
  for (const StepResult& result : by_rank) {
    const bool same =
        std::equal(chunks.begin(), chunks.end(), result.sequences.begin(), result.sequences.end(),
                   [](const ChunkInFlight& chunk, const SequenceResult& from) {
                     return PlantedBug(Bug::kNoEpochCheck) || chunk.sequence == from.sequence;
                   });
    if (same) continue;
    marks.Visit(Mark::kMalformedResult);
    return false;
  }
  return true;
}

void Scheduler::State::Apply(Group& group, std::span<const StepResult> by_rank, absl::Time now) {
  const StepInFlight step = std::move(group.in_flight.front());
  group.in_flight.pop_front();
  for (size_t i = 0; i < step.chunks.size(); ++i) {
    ApplyChunk(group, step.chunks[i], i, by_rank, now);
  }
  group.ledger->Fence(PlantedBug(Bug::kNoFence) ? group.next_step - 1 : step.step);

  absl::Duration slowest;
  for (size_t rank = 0; rank < by_rank.size(); ++rank) {
    group.pages[rank] = by_rank[rank].pages;
    slowest = std::max(slowest, by_rank[rank].times.total);
  }
  if (step.chunks.empty()) return;
  stats.step_times += by_rank[0].times;
  (step.prefill ? stats.step_seconds_mixed : stats.step_seconds_decode)
      .Add(absl::ToDoubleSeconds(slowest));
}

void Scheduler::State::ApplyChunk(Group& group, const ChunkInFlight& chunk, size_t index,
                                  std::span<const StepResult> by_rank, absl::Time now) {
  Sequence* const sequence = group.running.Find(chunk.sequence);
  if (PlantedBug(Bug::kLateResultAborts)) {
    CHECK(sequence != nullptr) << "unknown sequence";
  }
  if (sequence == nullptr) return marks.Visit(Mark::kSurplusResult);  // it ended meanwhile
  LiveRequest& live = *sequence->live;

  absl::InlinedVector<uint32_t, 8> held;
  bool failed = false;
  for (const StepResult& result : by_rank) {
    held.push_back(result.sequences[index].pages_held);
    failed |= result.sequences[index].failed;
  }
  const SequenceResult& from = by_rank[0].sequences[index];
  if (absl::Status settled = group.ledger->Settle(chunk.sequence, chunk.tokens_after, held);
      !settled.ok()) {
    marks.Visit(Mark::kBrokenReport);
    return Fail(live, absl::InternalError(settled.message()), now);
  }
  if (failed) {
    marks.Visit(Mark::kFailedLogits);
    return Fail(live, absl::InternalError("the model computed a value that is not finite"), now);
  }
  const auto targets = static_cast<size_t>(chunk.score_targets);
  if (from.sampled != chunk.sample ||
      (chunk.score_count > 0 &&
       (from.score_logprobs.size() != targets || from.score_top.size() != targets))) {
    marks.Visit(Mark::kBrokenReport);
    return Fail(live, absl::InternalError("the worker's answer does not match the plan"), now);
  }
  if (chunk.sample && !(0 <= from.token && from.token < group.shape.vocab)) {
    marks.Visit(Mark::kTokenOutsideVocab);
    return Fail(live,
                absl::InternalError(absl::StrCat("the worker sampled token ", from.token,
                                                 ", outside [0, ", group.shape.vocab, ")")),
                now);
  }
  if (chunk.score_count > 0) {
    if (chunk.score_count < live.prompt_tokens() - 1) marks.Visit(Mark::kScoreAcrossChunks);
    const auto first = chunk.score_skipped;
    const auto end = first + chunk.score_count;
    live.prompt_logprobs.insert(live.prompt_logprobs.end(), from.score_logprobs.begin() + first,
                                from.score_logprobs.begin() + end);
    live.prompt_top.insert(live.prompt_top.end(), from.score_top.begin() + first,
                           from.score_top.begin() + end);
  }
  if (chunk.sample) {
    ++sequence->samples_done;
    return EmitToken(live, from, now);
  }
  if (sequence->samples_max > 0 || chunk.tokens_after < sequence->prefill_tokens) return;
  Complete(live, now);
}

void Scheduler::State::EmitToken(LiveRequest& live, const SequenceResult& result, absl::Time now) {
  Request& request = live.request;
  TokenEvent event;
  event.request = request.id;
  event.has_token = true;
  event.token_index = live.emitted_tokens();
  event.token = result.token;
  event.logprob = result.logprob;
  event.top = result.top;
  request.emitted.push_back(result.token);
  ++stats.generated_tokens;
  const int64_t tokens_left = live.tokens_left();
  if (tokens_left > 0) return actions.events.push_back(std::move(event));
  const bool stopped = std::find(request.stop_tokens.begin(), request.stop_tokens.end(),
                                 result.token) != request.stop_tokens.end();
  if (stopped) marks.Visit(Mark::kStopToken);
  event.finish = stopped ? FinishReason::kStop : FinishReason::kLength;
  End(live, std::move(event), now);
}

}  // namespace headgate
