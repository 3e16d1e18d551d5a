// StepPlan and StepResult: the link between the scheduler and a rank.
#include "absl/container/flat_hash_set.h"
#include "base/status_macros.h"
#include "proto/wire.h"
#include "proto/wire_checks.h"

namespace headgate {
namespace {

using wire::CheckFinite;
using wire::CheckRange;
using wire::CheckTokens;

absl::Status CheckIdentity(uint64_t epoch, uint64_t step) {
  if (epoch == 0) return absl::InvalidArgumentError("wire: epoch is 0, must be at least 1");
  if (step == 0) return absl::InvalidArgumentError("wire: step is 0, must be at least 1");
  return absl::OkStatus();
}

absl::StatusOr<Chunk> ChunkFromWire(const internal::Chunk& in) {
  RETURN_IF_ERROR(CheckRange("chunk.position", in.position(), 0, wire::kPositionsMax));
  RETURN_IF_ERROR(CheckTokens("chunk.tokens", in.tokens(), 0, wire::kTokensMax));
  RETURN_IF_ERROR(
      CheckTokens("chunk.score_targets", in.score_targets(), kNoTarget, wire::kTokensMax));
  Chunk chunk;
  chunk.sequence = in.sequence();
  chunk.position = in.position();
  chunk.tokens.assign(in.tokens().begin(), in.tokens().end());
  chunk.sample = in.sample();
  chunk.score_targets.assign(in.score_targets().begin(), in.score_targets().end());
  if (!chunk.score_targets.empty() && in.score_targets_size() != chunk.length()) {
    return absl::InvalidArgumentError("wire: chunk.score_targets is not as long as chunk.tokens");
  }
  return chunk;
}

absl::StatusOr<SequenceResult> SequenceResultFromWire(const internal::SequenceResult& in) {
  RETURN_IF_ERROR(CheckRange("result.token", int64_t{in.token()}, 0, wire::kTokenMax));
  RETURN_IF_ERROR(CheckFinite("result.logprob", in.logprob()));
  RETURN_IF_ERROR(CheckFinite("result.score_logprobs", in.score_logprobs()));
  RETURN_IF_ERROR(CheckTokens("result.score_top", in.score_top(), kNoTarget, wire::kTokensMax));
  if (in.score_top_size() != in.score_logprobs_size()) {
    return absl::InvalidArgumentError("wire: result.score_top is not as long as score_logprobs");
  }
  SequenceResult result;
  result.sequence = in.sequence();
  result.sampled = in.sampled();
  result.token = in.token();
  result.logprob = in.logprob();
  ASSIGN_OR_RETURN(result.top, wire::FromWire(in.top()));
  result.score_logprobs.assign(in.score_logprobs().begin(), in.score_logprobs().end());
  result.score_top.assign(in.score_top().begin(), in.score_top().end());
  result.pages_held = in.pages_held();
  result.failed = in.failed();
  return result;
}

absl::StatusOr<StepTimes> TimesFromWire(const internal::StepTimes& in) {
  for (int64_t ns :
       {in.total_ns(), in.attention_ns(), in.dense_ns(), in.collective_ns(), in.sample_ns()}) {
    RETURN_IF_ERROR(CheckRange("times", ns, 0, wire::kStepNsMax));
  }
  return StepTimes{.total = absl::Nanoseconds(in.total_ns()),
                   .attention = absl::Nanoseconds(in.attention_ns()),
                   .dense = absl::Nanoseconds(in.dense_ns()),
                   .collective = absl::Nanoseconds(in.collective_ns()),
                   .sample = absl::Nanoseconds(in.sample_ns())};
}

void QueuesToWire(const RankQueues& queues, internal::RankQueues& out) {
  out.set_inbox(queues.inbox);
  out.set_inbox_limit(queues.inbox_limit);
  out.set_unsent_replies(queues.unsent_replies);
  out.set_unsent_replies_limit(queues.unsent_replies_limit);
}

absl::StatusOr<RankQueues> QueuesFromWire(const internal::RankQueues& in) {
  RETURN_IF_ERROR(CheckRange("queues.inbox", int64_t{in.inbox()}, 0, in.inbox_limit()));
  RETURN_IF_ERROR(CheckRange("queues.unsent_replies", int64_t{in.unsent_replies()}, 0,
                             in.unsent_replies_limit()));
  return RankQueues{.inbox = in.inbox(),
                    .inbox_limit = in.inbox_limit(),
                    .unsent_replies = in.unsent_replies(),
                    .unsent_replies_limit = in.unsent_replies_limit()};
}

}  // namespace

void ToWire(const StepPlan& plan, internal::StepPlan& out) {
  out.Clear();
  out.set_epoch(plan.epoch);
  out.set_step(plan.step);
  out.mutable_releases()->Add(plan.releases.begin(), plan.releases.end());
  for (const SequenceStart& start : plan.starts) {
    internal::SequenceStart* wire_start = out.add_starts();
    wire_start->set_sequence(start.sequence);
    wire::ToWire(start.sampling, *wire_start->mutable_sampling());
    wire_start->set_first_token_index(start.first_token_index);
    wire_start->set_prompt_tokens(start.prompt_tokens);
  }
  for (const Chunk& chunk : plan.chunks) {
    internal::Chunk* wire_chunk = out.add_chunks();
    wire_chunk->set_sequence(chunk.sequence);
    wire_chunk->set_position(chunk.position);
    wire_chunk->mutable_tokens()->Add(chunk.tokens.begin(), chunk.tokens.end());
    wire_chunk->set_sample(chunk.sample);
    wire_chunk->mutable_score_targets()->Add(chunk.score_targets.begin(),
                                             chunk.score_targets.end());
  }
}

absl::StatusOr<StepPlan> FromWire(const internal::StepPlan& in) {
  RETURN_IF_ERROR(CheckIdentity(in.epoch(), in.step()));
  RETURN_IF_ERROR(CheckRange("plan.releases", int64_t{in.releases_size()}, 0, wire::kReleasesMax));
  RETURN_IF_ERROR(CheckRange("plan.starts", int64_t{in.starts_size()}, 0, wire::kSequencesMax));
  RETURN_IF_ERROR(CheckRange("plan.chunks", int64_t{in.chunks_size()}, 0, wire::kSequencesMax));
  StepPlan plan;
  plan.epoch = in.epoch();
  plan.step = in.step();
  plan.releases.assign(in.releases().begin(), in.releases().end());
  plan.starts.reserve(static_cast<size_t>(in.starts_size()));
  for (const internal::SequenceStart& start : in.starts()) {
    RETURN_IF_ERROR(
        CheckRange("start.first_token_index", start.first_token_index(), 0, wire::kPositionsMax));
    RETURN_IF_ERROR(
        CheckRange("start.prompt_tokens", start.prompt_tokens(), 0, wire::kPositionsMax));
    ASSIGN_OR_RETURN(SamplingParams sampling, wire::FromWire(start.sampling()));
    plan.starts.push_back(
        {start.sequence(), sampling, start.first_token_index(), start.prompt_tokens()});
  }
  plan.chunks.reserve(static_cast<size_t>(in.chunks_size()));
  absl::flat_hash_set<SequenceId> seen;
  for (const internal::Chunk& wire_chunk : in.chunks()) {
    if (in.chunks_size() > 1 && !seen.insert(wire_chunk.sequence()).second) {
      return absl::InvalidArgumentError("wire: plan.chunks has two chunks of one sequence");
    }
    ASSIGN_OR_RETURN(Chunk chunk, ChunkFromWire(wire_chunk));
    plan.chunks.push_back(std::move(chunk));
  }
  return plan;
}

void ToWire(const StepResult& result, internal::StepResult& out) {
  out.Clear();
  out.set_epoch(result.epoch);
  out.set_step(result.step);
  for (const SequenceResult& sequence : result.sequences) {
    internal::SequenceResult* wire_sequence = out.add_sequences();
    wire_sequence->set_sequence(sequence.sequence);
    wire_sequence->set_sampled(sequence.sampled);
    wire_sequence->set_token(sequence.token);
    wire_sequence->set_logprob(sequence.logprob);
    wire::ToWire(sequence.top, *wire_sequence->mutable_top());
    wire_sequence->mutable_score_logprobs()->Add(sequence.score_logprobs.begin(),
                                                 sequence.score_logprobs.end());
    wire_sequence->mutable_score_top()->Add(sequence.score_top.begin(), sequence.score_top.end());
    wire_sequence->set_pages_held(sequence.pages_held);
    wire_sequence->set_failed(sequence.failed);
  }
  wire::ToWire(result.pages, *out.mutable_pages());
  internal::StepTimes* times = out.mutable_times();
  times->set_total_ns(absl::ToInt64Nanoseconds(result.times.total));
  times->set_attention_ns(absl::ToInt64Nanoseconds(result.times.attention));
  times->set_dense_ns(absl::ToInt64Nanoseconds(result.times.dense));
  times->set_collective_ns(absl::ToInt64Nanoseconds(result.times.collective));
  times->set_sample_ns(absl::ToInt64Nanoseconds(result.times.sample));
  QueuesToWire(result.queues, *out.mutable_queues());
}

absl::StatusOr<StepResult> FromWire(const internal::StepResult& in) {
  RETURN_IF_ERROR(CheckIdentity(in.epoch(), in.step()));
  RETURN_IF_ERROR(
      CheckRange("result.sequences", int64_t{in.sequences_size()}, 0, wire::kSequencesMax));
  StepResult result;
  result.epoch = in.epoch();
  result.step = in.step();
  result.sequences.reserve(static_cast<size_t>(in.sequences_size()));
  for (const internal::SequenceResult& wire_sequence : in.sequences()) {
    ASSIGN_OR_RETURN(SequenceResult sequence, SequenceResultFromWire(wire_sequence));
    result.sequences.push_back(std::move(sequence));
  }
  ASSIGN_OR_RETURN(result.pages, wire::FromWire(in.pages()));
  ASSIGN_OR_RETURN(result.times, TimesFromWire(in.times()));
  ASSIGN_OR_RETURN(result.queues, QueuesFromWire(in.queues()));
  return result;
}

}  // namespace headgate
