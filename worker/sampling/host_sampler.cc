#include "worker/sampling/host_sampler.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/status_macros.h"

namespace headgate {

HostSampler::HostSampler(const SamplerShape& shape)
    : shape_(shape),
      vocabulary_(std::accumulate(shape.vocabulary.begin(), shape.vocabulary.end(), int64_t{0})) {
  if (shape_.vocabulary.size() == 1 || shape_.rank != 0) return;
  gathered_.resize(static_cast<size_t>(shape_.rows_max * vocabulary_));
  whole_.resize(gathered_.size());
}

void HostSampler::Add(const SequenceStart& start) {
  Live live;
  live.start = start;
  if (TokenHistory::Needed(start.sampling)) live.history = std::make_unique<TokenHistory>();
  sequences_.insert_or_assign(start.sequence, std::move(live));
}

void HostSampler::Clear() {
  sequences_.clear();
  uses_.clear();
  outcomes_.clear();
  ended_.clear();
}

HostSampler::Live& HostSampler::Find(SequenceId sequence) {
  const auto it = sequences_.find(sequence);
  CHECK(it != sequences_.end()) << "unknown sequence " << sequence;
  return it->second;
}

void HostSampler::BeginStep(Batch& batch) {
  for (const BatchSequence& one : batch.sequences) {
    Live& live = Find(one.sequence);
    for (int64_t i = 0; i < one.length; ++i) {
      TokenId& token = batch.tokens[static_cast<size_t>(one.offset + i)];
      if (token == kLastSampled) token = live.last;
      if (live.history == nullptr) continue;
      if (one.position + i < live.start.prompt_tokens) {
        live.history->AddPrompt(token);
      } else {
        live.history->AddOutput(token);
      }
    }
  }
}

absl::Status HostSampler::Choose(Tensor logits, std::span<const LogitUse> uses) {
  CHECK(logits.rows == static_cast<int64_t>(uses.size()) && logits.rows <= shape_.rows_max)
      << "Choose: rows";
  ASSIGN_OR_RETURN(const std::span<const float> rows, Gather(logits));
  const auto vocabulary = static_cast<size_t>(vocabulary_);
  for (size_t i = 0; i < uses.size(); ++i) {
    uses_.push_back(uses[i]);
    outcomes_.push_back(rows.empty()
                            ? LogitOutcome()
                            : ChooseOne(rows.subspan(i * vocabulary, vocabulary), uses[i]));
  }
  return absl::OkStatus();
}

LogitOutcome HostSampler::ChooseOne(std::span<const float> logits, const LogitUse& use) {
  LogitOutcome outcome;
  if (use.target != kNoTarget) outcome.scored = sampler_.Score(logits, use.target);
  if (!use.sample) return outcome;
  const Live& live = Find(use.sequence);
  outcome.sampled =
      sampler_.Sample(logits, live.start.sampling, live.history.get(), use.token_index);
  return outcome;
}

// Every rank has all rows of its part of the vocabulary; rank 0 makes whole rows of them. Empty on
// the others.
absl::StatusOr<std::span<const float>> HostSampler::Gather(Tensor logits) {
  const std::span<const float> own(logits.f32(), static_cast<size_t>(logits.rows * logits.cols));
  if (shape_.vocabulary.size() == 1) return own;
  CHECK(peers_ != nullptr) << "Choose without peers";
  std::vector<int64_t> counts;
  for (const int64_t columns : shape_.vocabulary) counts.push_back(logits.rows * columns);
  RETURN_IF_ERROR(peers_->GatherToRoot(own, counts, gathered_));
  if (shape_.rank != 0) return std::span<const float>();
  const float* from = gathered_.data();
  int64_t begin = 0;
  for (const int64_t columns : shape_.vocabulary) {
    for (int64_t row = 0; row < logits.rows; ++row, from += columns) {
      std::copy_n(from, columns, whole_.data() + row * vocabulary_ + begin);
    }
    begin += columns;
  }
  return std::span<const float>(whole_).first(static_cast<size_t>(logits.rows * vocabulary_));
}

absl::Status HostSampler::EndStep() {
  std::vector<TokenId> tokens;
  for (size_t i = 0; i < uses_.size(); ++i) {
    const SampledToken& sampled = outcomes_[i].sampled;
    if (uses_[i].sample) tokens.push_back(sampled.failed ? kTokenOfFailed : sampled.token);
  }
  if (peers_ != nullptr && !tokens.empty()) {
    RETURN_IF_ERROR(peers_->Broadcast(std::as_writable_bytes(std::span(tokens))));
  }
  size_t next = 0;
  for (const LogitUse& use : uses_) {
    if (use.sample) Find(use.sequence).last = tokens[next++];
  }
  uses_.clear();
  ended_.push_back(std::exchange(outcomes_, {}));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<LogitOutcome>> HostSampler::Await() {
  CHECK(!ended_.empty()) << "no step to await";
  std::vector<LogitOutcome> oldest = std::move(ended_.front());
  ended_.pop_front();
  return oldest;
}

}  // namespace headgate
