// The TokenSampler of devices whose logits lie in host memory. Rank 0 gathers the ranks' parts of
// the vocabulary, chooses, and tells the others: they need not compute alike to agree.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "worker/collective/collective.h"
#include "worker/sampling/penalties.h"
#include "worker/sampling/sampler.h"
#include "worker/sampling/token_sampler.h"

namespace headgate {

class HostSampler final : public TokenSampler {
 public:
  explicit HostSampler(const SamplerShape& shape);

  // The group of the steps that follow; null: a rank of its own.
  void Connect(Collective* peers) { peers_ = peers; }

  std::vector<QueueStats> Queues() const override { return {}; }
  void Add(const SequenceStart& start) override;
  void Remove(SequenceId sequence) override { sequences_.erase(sequence); }
  void Clear() override;
  void BeginStep(Batch& batch) override;
  absl::Status Choose(Tensor logits, std::span<const LogitUse> uses) override;
  absl::Status EndStep() override;
  absl::StatusOr<bool> Ready() override { return true; }
  absl::StatusOr<std::vector<LogitOutcome>> Await() override;

 private:
  struct Live {
    SequenceStart start;
    TokenId last = kTokenOfFailed;
    std::unique_ptr<TokenHistory> history;  // null without penalties
  };

  Live& Find(SequenceId sequence);
  absl::StatusOr<std::span<const float>> Gather(Tensor logits);
  LogitOutcome ChooseOne(std::span<const float> logits, const LogitUse& use);

  const SamplerShape shape_;
  const int64_t vocabulary_;  // columns of all parts
  Collective* peers_ = nullptr;
  Sampler sampler_;
  absl::flat_hash_map<SequenceId, Live> sequences_;

  // Of the step that has begun.
  std::vector<LogitUse> uses_;
  std::vector<LogitOutcome> outcomes_;
  std::deque<std::vector<LogitOutcome>> ended_;

  // Rank 0 of several: the ranks' blocks back to back, and [rows, vocabulary].
  std::vector<float> gathered_;
  std::vector<float> whole_;
};

}  // namespace headgate
