#include "worker/worker.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/status_macros.h"

namespace headgate {
namespace {

// FNV-1a: ranks compare it, nobody attacks it.
uint64_t Fingerprint(const std::string& text) {
  uint64_t hash = 14695981039346656037u;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 1099511628211u;
  return hash;
}

}  // namespace

absl::Status Worker::BeginEpoch(Epoch epoch, std::unique_ptr<Collective> collective) {
  EndEpoch();
  if (collective->rank() != options_.rank || collective->size() != options_.ranks) {
    return absl::InvalidArgumentError(absl::StrCat("worker: rank ", options_.rank, " of ",
                                                   options_.ranks, " cannot be rank ",
                                                   collective->rank(), " of ", collective->size()));
  }
  const uint64_t mine = Fingerprint(Agreement());
  uint64_t root = mine;
  RETURN_IF_ERROR(collective->Broadcast(std::as_writable_bytes(std::span(&root, 1))));
  if (root != mine) {
    return absl::FailedPreconditionError(
        "worker: rank 0 has another model, policy or option; start all ranks alike");
  }
  RETURN_IF_ERROR(backend_->Connect(collective.get()));
  collective_ = std::move(collective);
  epoch_ = epoch;
  return absl::OkStatus();
}

void Worker::EndEpoch() {
  store_->Clear();
  sequences_->Clear();
  LeaveGroup();
  last_step_ = 0;
}

void Worker::LeaveGroup() {
  backend_->Connect(nullptr).IgnoreError();
  collective_.reset();
}

absl::StatusOr<StepResult> Worker::Step(const StepPlan& plan) {
  const absl::Time start = absl::Now();
  if (collective_ == nullptr || plan.epoch != epoch_ || plan.step != last_step_ + 1) {
    return absl::FailedPreconditionError(absl::StrCat("plan: step ", plan.step, " of epoch ",
                                                      plan.epoch, "; expected step ",
                                                      last_step_ + 1, " of epoch ", epoch_));
  }
  RETURN_IF_ERROR(sequences_->Check(plan));
  StepResult result;
  result.epoch = plan.epoch;
  result.step = plan.step;
  absl::Status done = Apply(plan);
  if (done.ok() && !plan.chunks.empty()) done = Compute(plan, result);
  if (!done.ok()) {
    LeaveGroup();  // the ranks may no longer be in step: peers hear of it, the epoch is over
    return done;
  }
#ifndef NDEBUG
  RETURN_IF_ERROR(store_->CheckIntegrity());
#endif
  last_step_ = plan.step;
  result.pages = store_->Stats();
  result.times.total = absl::Now() - start;
  return result;
}

// Releases, starts, and pages for the chunks.
absl::Status Worker::Apply(const StepPlan& plan) {
  for (const SequenceId sequence : plan.releases) {
    RETURN_IF_ERROR(store_->Release(sequence));
    sequences_->Remove(sequence);
  }
  for (const SequenceStart& start : plan.starts) {
    RETURN_IF_ERROR(store_->AddSequence(start.sequence));
    sequences_->Add(start);
  }
  if (plan.chunks.empty()) return absl::OkStatus();
  const absl::Status pages = store_->BeginStep(plan.chunks);
  if (absl::IsResourceExhausted(pages)) {
    return absl::FailedPreconditionError(absl::StrCat("plan: ", pages.message()));
  }
  return pages;
}

absl::Status Worker::Compute(const StepPlan& plan, StepResult& result) {
  const Batch batch = sequences_->BuildBatch(plan);
  absl::Status status = transformer_->Forward(batch);
  if (!status.ok()) {
    store_->Abort();
    return status;
  }
  store_->Commit();
  for (const Chunk& chunk : plan.chunks) {
    sequences_->Advance(chunk);
    SequenceResult& sequence = result.sequences.emplace_back();
    sequence.sequence = chunk.sequence;
    sequence.pages_held = store_->PagesHeld(chunk.sequence);
    if (options_.rank != 0) continue;
    sequence.score_logprobs.resize(chunk.score_targets.size());
    sequence.score_top.resize(chunk.score_targets.size());
  }
  status = FillOutputs(plan, batch, result);
  if (status.ok()) status = ShareSampled(plan, result);
  const StepTimes times = transformer_->TakeTimes();
  result.times.attention = times.attention;
  result.times.dense = times.dense;
  result.times.collective += times.collective;
  return status;
}

// Logits of the rows that are sampled or scored, a block at a time.
absl::Status Worker::FillOutputs(const StepPlan& plan, const Batch& batch, StepResult& result) {
  std::vector<OutputRow> outputs;
  for (size_t c = 0; c < plan.chunks.size(); ++c) {
    const Chunk& chunk = plan.chunks[c];
    for (int64_t i = 0; i < chunk.length(); ++i) {
      OutputRow output{static_cast<int32_t>(batch.sequences[c].offset + i), c};
      output.sample = chunk.sample && i + 1 == chunk.length();
      const bool scored =
          !chunk.score_targets.empty() && chunk.score_targets[static_cast<size_t>(i)] != kNoTarget;
      if (scored) output.score = i;
      if (scored || output.sample) outputs.push_back(output);
    }
  }
  constexpr size_t kBlock = static_cast<size_t>(Transformer::kLogitRowsMax);
  for (size_t begin = 0; begin < outputs.size(); begin += kBlock) {
    const std::span<const OutputRow> block =
        std::span(outputs).subspan(begin, std::min(kBlock, outputs.size() - begin));
    std::vector<int32_t> rows;
    for (const OutputRow& output : block) rows.push_back(output.row);
    ASSIGN_OR_RETURN(const std::span<const float> logits, transformer_->Logits(rows, *collective_));
    if (options_.rank != 0) continue;
    const absl::Time start = absl::Now();
    const size_t vocab = static_cast<size_t>(shape_.vocab);
    for (size_t i = 0; i < block.size(); ++i) {
      FillOutput(plan, block[i], logits.subspan(i * vocab, vocab),
                 result.sequences[block[i].chunk]);
    }
    result.times.sample += absl::Now() - start;
  }
  return absl::OkStatus();
}

void Worker::FillOutput(const StepPlan& plan, const OutputRow& output,
                        std::span<const float> logits, SequenceResult& result) {
  const Chunk& chunk = plan.chunks[output.chunk];
  const LiveSequence& sequence = sequences_->at(chunk.sequence);
  result.failed = result.failed || sequence.failed;
  if (output.score >= 0) {
    const size_t i = static_cast<size_t>(output.score);
    const ScoredToken scored = sampler_.Score(logits, chunk.score_targets[i]);
    result.failed = result.failed || scored.failed;
    result.score_logprobs[i] = scored.logprob;
    result.score_top[i] = scored.top;
  }
  if (!output.sample) return;
  SampledToken sampled = sampler_.Sample(logits, sequence.start.sampling, sequence.history.get(),
                                         sequence.next_token_index);
  result.failed = result.failed || sampled.failed;
  result.sampled = !result.failed;
  if (result.failed) return;
  result.token = sampled.token;
  result.logprob = sampled.logprob;
  result.top = std::move(sampled.top);
}

// Every rank learns what rank 0 sampled: the next decode chunk feeds it.
absl::Status Worker::ShareSampled(const StepPlan& plan, StepResult& result) {
  constexpr TokenId kFailed = -1;
  std::vector<TokenId> tokens;
  for (size_t c = 0; c < plan.chunks.size(); ++c) {
    const SequenceResult& sequence = result.sequences[c];
    if (plan.chunks[c].sample) tokens.push_back(sequence.sampled ? sequence.token : kFailed);
  }
  if (tokens.empty()) return absl::OkStatus();
  if (options_.ranks > 1) {
    const absl::Time start = absl::Now();
    RETURN_IF_ERROR(collective_->Broadcast(std::as_writable_bytes(std::span(tokens))));
    result.times.collective += absl::Now() - start;
  }
  size_t next = 0;
  for (const Chunk& chunk : plan.chunks) {
    if (!chunk.sample) continue;
    const TokenId token = tokens[next++];
    sequences_->AddSampled(chunk.sequence,
                           token == kFailed ? std::nullopt : std::optional<TokenId>(token));
  }
  return absl::OkStatus();
}

}  // namespace headgate
