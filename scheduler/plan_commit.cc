// A draft becomes a plan in flight. Nothing here can fail. See scheduler_state.h.
#include <algorithm>
#include <utility>

#include "scheduler/scheduler_state.h"

namespace headgate {
namespace {

// Tokens [begin, begin + length) of prompt followed by output.
std::vector<TokenId> PrefillTokens(const Request& request, int64_t begin, int64_t length) {
  std::vector<TokenId> tokens;
  tokens.reserve(static_cast<size_t>(length));
  const auto prompt = static_cast<int64_t>(request.prompt.size());
  const int64_t end = begin + length;
  const int64_t split = std::clamp(prompt, begin, end);
  tokens.insert(tokens.end(), request.prompt.begin() + std::min(begin, prompt),
                request.prompt.begin() + std::min(split, prompt));
  if (end > prompt) {
    tokens.insert(tokens.end(), request.emitted.begin() + (split - prompt),
                  request.emitted.begin() + (end - prompt));
  }
  return tokens;
}

// Fills the chunk's targets: the prompt token that follows each position, from score_from on.
void AddScoreTargets(const Sequence& sequence, Chunk& chunk, ChunkInFlight& awaited) {
  const std::vector<TokenId>& prompt = sequence.live->request.prompt;
  const int64_t begin = std::max(chunk.position, sequence.score_from);
  const int64_t end =
      std::min(chunk.position + chunk.length(), static_cast<int64_t>(prompt.size()) - 1);
  if (begin >= end) return;
  chunk.score_targets.assign(static_cast<size_t>(chunk.length()), kNoTarget);
  for (int64_t i = begin; i < end; ++i) {
    chunk.score_targets[static_cast<size_t>(i - chunk.position)] =
        prompt[static_cast<size_t>(i + 1)];
  }
  awaited.score_skipped = begin - chunk.position;
  awaited.score_count = end - begin;
  awaited.score_targets = chunk.length();
}

SequenceStart StartOf(const Sequence& sequence) {
  return {.sequence = sequence.id,
          .sampling = sequence.live->request.sampling,
          .first_token_index = sequence.first_token_index,
          .prompt_tokens = sequence.live->prompt_tokens()};
}

}  // namespace

bool Scheduler::State::PlanStep(Group& group) {
  const std::vector<ChunkDraft> drafts =
      DraftBatch(group.running.oldest_first(), {config.step_tokens, config.chunk_tokens});
  if (drafts.empty() && group.releases.empty()) return false;
  if (drafts.empty()) marks.Visit(Mark::kReleaseOnlyPlan);

  StepPlan plan;
  plan.epoch = group.shape.epoch;
  plan.step = group.next_step++;
  plan.releases = std::exchange(group.releases, {});
  plan.chunks.reserve(drafts.size());
  StepInFlight& awaited = group.in_flight.emplace_back();
  awaited.step = plan.step;
  awaited.chunks.reserve(drafts.size());
  for (const ChunkDraft& draft : drafts) {
    Sequence& sequence = *group.running.oldest_first()[draft.index];
    if (!sequence.started()) plan.starts.push_back(StartOf(sequence));
    Chunk& chunk = plan.chunks.emplace_back();
    chunk.sequence = sequence.id;
    chunk.position = sequence.tokens_planned;
    chunk.sample = draft.sample;
    ChunkInFlight& expected = awaited.chunks.emplace_back();
    expected.sequence = sequence.id;
    expected.tokens_after = chunk.position + draft.length;
    expected.sample = draft.sample;
    if (draft.decode) {
      if (sequence.samples_done < sequence.samples_planned) marks.Visit(Mark::kDecodeInFlight);
    } else {
      awaited.prefill = true;
      stats.prompt_tokens += static_cast<uint64_t>(draft.length);
      if (draft.length < sequence.prefill_left()) marks.Visit(Mark::kChunkedPrefill);
      chunk.tokens = PrefillTokens(sequence.live->request, chunk.position, draft.length);
      if (sequence.live->request.score) AddScoreTargets(sequence, chunk, expected);
    }
    sequence.tokens_planned += draft.length;
    if (draft.sample) ++sequence.samples_planned;
  }
  ++stats.steps;
  actions.plans.push_back({group.index, std::move(plan)});
  return true;
}

}  // namespace headgate
