// StepPlan and StepResult: the link between the scheduler and a rank.
#include <algorithm>
#include <limits>
#include <string_view>

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

void TimesToWire(const StepTimes& times, internal::StepTimes& out) {
  out.set_total_ns(absl::ToInt64Nanoseconds(times.total));
  out.set_attention_ns(absl::ToInt64Nanoseconds(times.attention));
  out.set_dense_ns(absl::ToInt64Nanoseconds(times.dense));
  out.set_collective_ns(absl::ToInt64Nanoseconds(times.collective));
  out.set_sample_ns(absl::ToInt64Nanoseconds(times.sample));
  if (!times.device.has_value()) return;
  out.mutable_device()->set_busy_ns(absl::ToInt64Nanoseconds(times.device->busy));
  out.mutable_device()->set_idle_ns(absl::ToInt64Nanoseconds(times.device->idle));
}

absl::StatusOr<StepTimes> TimesFromWire(const internal::StepTimes& in) {
  for (int64_t ns : {in.total_ns(), in.attention_ns(), in.dense_ns(), in.collective_ns(),
                     in.sample_ns(), in.device().busy_ns(), in.device().idle_ns()}) {
    RETURN_IF_ERROR(CheckRange("times", ns, 0, wire::kStepNsMax));
  }
  StepTimes times;
  times.total = absl::Nanoseconds(in.total_ns());
  times.attention = absl::Nanoseconds(in.attention_ns());
  times.dense = absl::Nanoseconds(in.dense_ns());
  times.collective = absl::Nanoseconds(in.collective_ns());
  times.sample = absl::Nanoseconds(in.sample_ns());
  if (in.has_device()) {
    times.device = DeviceTimes{absl::Nanoseconds(in.device().busy_ns()),
                               absl::Nanoseconds(in.device().idle_ns())};
  }
  return times;
}

using WireQueues = google::protobuf::RepeatedPtrField<internal::Queue>;

void QueuesToWire(const std::vector<QueueStats>& queues, WireQueues& out) {
  for (const QueueStats& queue : queues) {
    internal::Queue* wire_queue = out.Add();
    wire_queue->set_name(queue.name);
    wire_queue->set_size(queue.size);
    wire_queue->set_limit(queue.limit);
  }
}

// Names become labels of a page that others read.
bool IsQueueName(std::string_view name) {
  const auto allowed = [](char c) {
    return ('a' <= c && c <= 'z') || ('0' <= c && c <= '9') || c == '_';
  };
  return !name.empty() && name.size() <= wire::kQueueNameBytesMax &&
         std::all_of(name.begin(), name.end(), allowed);
}

absl::StatusOr<std::vector<QueueStats>> QueuesFromWire(const WireQueues& in) {
  RETURN_IF_ERROR(CheckRange("result.queues", int64_t{in.size()}, 0, wire::kQueuesMax));
  std::vector<QueueStats> queues;
  queues.reserve(static_cast<size_t>(in.size()));
  absl::flat_hash_set<std::string_view> seen;
  for (const internal::Queue& queue : in) {
    if (!IsQueueName(queue.name())) {
      return absl::InvalidArgumentError("wire: queue.name must be 1 to 64 of a-z, 0-9 and _");
    }
    if (!seen.insert(queue.name()).second) {
      return absl::InvalidArgumentError("wire: result.queues has a queue.name twice");
    }
    // Beyond int64 they wrap around to negative numbers.
    const auto limit = static_cast<int64_t>(queue.limit());
    RETURN_IF_ERROR(CheckRange("queue.limit", limit, 1, std::numeric_limits<int64_t>::max()));
    RETURN_IF_ERROR(CheckRange("queue.size", static_cast<int64_t>(queue.size()), 0, limit));
    queues.push_back({queue.name(), queue.size(), queue.limit()});
  }
  return queues;
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
  TimesToWire(result.times, *out.mutable_times());
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
