#include "worker/worker.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "base/status_macros.h"

namespace headgate {
namespace {

// FNV-1a: ranks compare it, nobody attacks it.
uint64_t Fingerprint(const std::string& text) {
  uint64_t hash = 14695981039346656037u;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 1099511628211u;
  return hash;
}

// A plan that asks for more than the rank has: trying again would not help.
absl::Status PlanError(const absl::Status& status) {
  if (!absl::IsResourceExhausted(status)) return status;
  return absl::FailedPreconditionError(absl::StrCat("plan: ", status.message()));
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
  LeaveGroup();
  if (StepClock* const clock = backend_->step_clock()) clock->Clear();
  sampler_->Clear();
  store_->Clear();
  sequences_->Clear();
  submitted_.clear();
  last_step_ = 0;
}

void Worker::LeaveGroup() {
  backend_->Connect(nullptr).IgnoreError();
  collective_.reset();
}

absl::Status Worker::Submit(const StepPlan& plan) {
  if (collective_ == nullptr || plan.epoch != epoch_ || plan.step != last_step_ + 1) {
    return absl::FailedPreconditionError(absl::StrCat("plan: step ", plan.step, " of epoch ",
                                                      plan.epoch, "; expected step ",
                                                      last_step_ + 1, " of epoch ", epoch_));
  }
  CHECK_LT(submitted_.size(), kStepsInFlightMax) << "Submit before Await";
  RETURN_IF_ERROR(sequences_->Check(plan));
  Submitted step;
  step.start = absl::Now();
  step.result.epoch = plan.epoch;
  step.result.step = plan.step;
  step.computes = !plan.chunks.empty();
  StepClock* const clock = backend_->step_clock();
  if (step.computes && clock != nullptr) clock->Begin();
  absl::Status done = Apply(plan);
  if (done.ok() && step.computes) done = Compute(plan, step);
  if (!done.ok()) {
    LeaveGroup();  // the ranks may no longer be in step: peers hear of it, the epoch is over
    return done;
  }
#ifndef NDEBUG
  RETURN_IF_ERROR(store_->CheckIntegrity());
#endif
  last_step_ = plan.step;
  step.result.pages = store_->Stats();
  submitted_.push_back(std::move(step));
  return absl::OkStatus();
}

absl::StatusOr<bool> Worker::Ready() {
  CHECK(!submitted_.empty()) << "no step in flight";
  if (!submitted_.front().computes) return true;
  return sampler_->Ready();
}

absl::StatusOr<StepResult> Worker::Await() {
  CHECK(!submitted_.empty()) << "no step in flight";
  std::vector<QueueStats> queues = Queues();  // with the step itself in flight
  Submitted step = std::move(submitted_.front());
  submitted_.pop_front();
  step.result.queues = std::move(queues);
  if (step.computes) {
    absl::StatusOr<std::vector<LogitOutcome>> outcomes = sampler_->Await();
    if (!outcomes.ok()) {
      LeaveGroup();
      return outcomes.status();
    }
    for (size_t i = 0; options_.rank == 0 && i < step.outputs.size(); ++i) {
      FillIn(step.uses[i], step.outputs[i], std::move((*outcomes)[i]), step.result);
    }
    if (StepClock* const clock = backend_->step_clock()) step.result.times.device = clock->Take();
  }
  const absl::Time now = absl::Now();
  step.result.times.total = now - std::max(step.start, last_end_);
  last_end_ = now;
  return std::move(step.result);
}

std::vector<QueueStats> Worker::Queues() const {
  std::vector<QueueStats> queues = backend_->Queues();
  for (const QueueStats& queue : sampler_->Queues()) queues.push_back(queue);
  queues.push_back({"steps_in_flight", submitted_.size(), kStepsInFlightMax});
  queues.push_back(
      {"sequences", sequences_->size(), static_cast<uint64_t>(store_->sequences_max())});
  return queues;
}

// Releases, starts, and pages for the chunks.
absl::Status Worker::Apply(const StepPlan& plan) {
  for (const SequenceId sequence : plan.releases) {
    RETURN_IF_ERROR(store_->Release(sequence));
    sampler_->Remove(sequence);
    sequences_->Remove(sequence);
  }
  for (const SequenceStart& start : plan.starts) {
    RETURN_IF_ERROR(PlanError(store_->AddSequence(start.sequence)));
    sequences_->Add(start);
    sampler_->Add(start);
  }
  if (plan.chunks.empty()) return absl::OkStatus();
  return PlanError(store_->BeginStep(plan.chunks));
}

absl::Status Worker::Compute(const StepPlan& plan, Submitted& step) {
  Batch batch = SequenceTable::BuildBatch(plan);
  ListOutputs(plan, batch, step);
  sampler_->BeginStep(batch);
  if (const absl::Status status = transformer_->Forward(batch); !status.ok()) {
    store_->Abort();
    return status;
  }
  store_->Commit();
  for (const Chunk& chunk : plan.chunks) {
    sequences_->Advance(chunk);
    SequenceResult& sequence = step.result.sequences.emplace_back();
    sequence.sequence = chunk.sequence;
    sequence.pages_held = store_->PagesHeld(chunk.sequence);
    if (options_.rank != 0) continue;
    sequence.score_logprobs.resize(chunk.score_targets.size());
    sequence.score_top.resize(chunk.score_targets.size());
  }
  RETURN_IF_ERROR(ChooseTokens(step));
  const StepTimes times = transformer_->TakeTimes();
  step.result.times.attention = times.attention;
  step.result.times.dense = times.dense;
  step.result.times.collective = times.collective;
  return absl::OkStatus();
}

// The rows that are sampled or scored.
void Worker::ListOutputs(const StepPlan& plan, Batch& batch, Submitted& step) {
  for (size_t c = 0; c < plan.chunks.size(); ++c) {
    const Chunk& chunk = plan.chunks[c];
    // Without scores only the last row is wanted, if any.
    const int64_t first = chunk.score_targets.empty() ? chunk.length() - 1 : 0;
    const int64_t token_index = sequences_->Find(chunk.sequence)->next_token_index;
    for (int64_t i = first; i < chunk.length(); ++i) {
      const auto at = static_cast<size_t>(i);
      LogitUse use;
      use.sequence = chunk.sequence;
      use.sample = chunk.sample && i + 1 == chunk.length();
      use.token_index = token_index;
      if (!chunk.score_targets.empty()) use.target = chunk.score_targets[at];
      if (!use.sample && use.target == kNoTarget) continue;
      batch.outputs.push_back(static_cast<int32_t>(batch.sequences[c].offset + i));
      step.uses.push_back(use);
      step.outputs.push_back({c, at});
    }
  }
}

absl::Status Worker::ChooseTokens(Submitted& step) {
  const auto rows_max = static_cast<size_t>(transformer_->logit_rows_max());
  for (size_t begin = 0; begin < step.uses.size(); begin += rows_max) {
    const std::span<const LogitUse> block =
        std::span(step.uses).subspan(begin, std::min(rows_max, step.uses.size() - begin));
    const Tensor logits =
        transformer_->Logits(static_cast<int64_t>(begin), static_cast<int64_t>(block.size()));
    const absl::Time start = absl::Now();
    RETURN_IF_ERROR(sampler_->Choose(logits, block));
    step.result.times.sample += absl::Now() - start;
  }
  return sampler_->EndStep();
}

void Worker::FillIn(const LogitUse& use, const Output& output, LogitOutcome outcome,
                    StepResult& step) {
  SequenceResult& result = step.sequences[output.chunk];
  LiveSequence* live = sequences_->Find(use.sequence);  // null: released since
  if (use.target != kNoTarget) {
    result.failed |= outcome.scored.failed;
    result.score_logprobs[output.score] = outcome.scored.logprob;
    result.score_top[output.score] = outcome.scored.top;
  }
  if (use.sample) {
    const bool failed_before = live != nullptr && live->failed;
    if (outcome.sampled.failed && !failed_before) {
      spdlog::error(
          "worker: step {}: not all logits of sequence {} are finite, for token {} of its answer",
          step.step, use.sequence, use.token_index + 1);
    }
    result.failed |= outcome.sampled.failed || failed_before;
    if (live != nullptr) live->failed = result.failed;
    result.sampled = !result.failed;
  }
  if (!result.sampled) return;
  result.token = outcome.sampled.token;
  result.logprob = outcome.sampled.logprob;
  result.top = std::move(outcome.sampled.top);
}

}  // namespace headgate
