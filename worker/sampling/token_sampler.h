// The last stage of a step: from logits to tokens and scores, for all sequences of one rank. Every
// backend has its own; what it computes is defined by Sampler (worker/sampling/sampler.h).
//
// Tokens may be chosen long after the call that asks for them: they stay where the next step needs
// them, and the host hears of them in Await. The step thread owns it. All ranks of a group make the
// same calls.
//
//   sampler.Add(start);
//   sampler.BeginStep(batch); ...layers...; sampler.Choose(logits, uses); sampler.EndStep();
//   sampler.BeginStep(next); ...
//   outcomes = sampler.Await();   // of the oldest step that was not awaited
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/step.h"
#include "worker/batch.h"
#include "worker/sampling/sampler.h"
#include "worker/tensor.h"

namespace headgate {

struct SamplerShape {
  std::vector<int64_t> vocabulary;  // columns of every rank's part of the logits
  int rank = 0;
  int64_t rows_max = 0;  // of one Choose
  int64_t uses_max = 0;  // of one step
};

// What is wanted of one row of logits: a token, a score, or both.
struct LogitUse {
  SequenceId sequence = 0;
  bool sample = false;
  int64_t token_index = 0;     // of the token to sample, in the client's stream
  TokenId target = kNoTarget;  // whose log-probability is wanted
};

struct LogitOutcome {
  SampledToken sampled;  // of a use with `sample`
  ScoredToken scored;    // of a use with a target
};

class TokenSampler {
 public:
  virtual ~TokenSampler() = default;

  // As Backend::Queues.
  virtual std::vector<QueueStats> Queues() const = 0;

  // Add REQUIRES that the sequence is in the page store and not here. A sequence may be removed
  // while a step that is not awaited samples it: its outcome comes all the same. Clear forgets all
  // sequences and steps.
  virtual void Add(const SequenceStart& start) = 0;
  virtual void Remove(SequenceId sequence) = 0;
  virtual void Clear() = 0;

  // The batch's tokens enter the histories of their sequences. Where a token is kLastSampled, the
  // one that the sequence sampled last is put in its place, here or later on the device; a sequence
  // whose logits were not finite feeds kTokenOfFailed.
  virtual void BeginStep(Batch& batch) = 0;

  // logits: this rank's part of the vocabulary, [uses.size(), own vocabulary], fp32; may be called
  // several times a step. Errors: the collective's.
  virtual absl::Status Choose(Tensor logits, std::span<const LogitUse> uses) = 0;

  // Nothing follows in this step. Errors: the collective's.
  virtual absl::Status EndStep() = 0;

  // Would Await return at once? UNAVAILABLE when a peer is lost. REQUIRES: a step to await.
  virtual absl::StatusOr<bool> Ready() = 0;

  // Waits for the oldest ended step; its outcomes in the order of the uses, on ranks other than 0
  // possibly none of what they say. UNAVAILABLE when a peer is lost.
  virtual absl::StatusOr<std::vector<LogitOutcome>> Await() = 0;
};

}  // namespace headgate
