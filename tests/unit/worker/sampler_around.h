// A sampler that passes every call on to the backend's own, for tests that see or change some of
// them: what WorkerOptions::around_sampler makes.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "worker/sampling/token_sampler.h"

namespace headgate {

class SamplerAround : public TokenSampler {
 public:
  explicit SamplerAround(std::unique_ptr<TokenSampler> sampler) : sampler_(std::move(sampler)) {}

  std::vector<QueueStats> Queues() const override { return sampler_->Queues(); }
  void Add(const SequenceStart& start) override { sampler_->Add(start); }
  void Remove(SequenceId sequence) override { sampler_->Remove(sequence); }
  void Clear() override { sampler_->Clear(); }
  void BeginStep(Batch& batch) override { sampler_->BeginStep(batch); }
  absl::Status Choose(Tensor logits, std::span<const LogitUse> uses) override {
    return sampler_->Choose(logits, uses);
  }
  absl::Status EndStep() override { return sampler_->EndStep(); }
  absl::StatusOr<bool> Ready() override { return sampler_->Ready(); }
  absl::StatusOr<std::vector<LogitOutcome>> Await() override { return sampler_->Await(); }

 private:
  const std::unique_ptr<TokenSampler> sampler_;
};

}  // namespace headgate
