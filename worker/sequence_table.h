// The sequences that live on this rank, beside their pages: how far each is, and the check of every
// plan before anything is touched. The worker's step thread owns it. All
// ranks keep the same table.
#pragma once

#include <cstdint>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "base/step.h"
#include "worker/batch.h"

namespace headgate {

struct PlanLimits {
  int64_t vocab = 0;
  int64_t positions_max = 0;    // of one sequence
  int64_t step_tokens_max = 0;  // of one step, all chunks together
};

struct LiveSequence {
  SequenceStart start;
  int64_t length = 0;            // positions whose keys and values are in pages
  int64_t next_token_index = 0;  // of the token that will be sampled next
  bool has_sampled = false;      // a token that was not fed yet
  bool failed = false;           // its logits were not finite once: it stays failed
};

class SequenceTable {
 public:
  explicit SequenceTable(const PlanLimits& limits) : limits_(limits) {}

  // FAILED_PRECONDITION, naming sequence and rule, when a plan breaks the contract: unknown or
  // doubled sequences, positions that do not follow, tokens outside the vocabulary, too many rows.
  absl::Status Check(const StepPlan& plan) const;

  void Add(const SequenceStart& start);
  void Remove(SequenceId sequence) { sequences_.erase(sequence); }
  void Clear() { sequences_.clear(); }
  // Null when unknown.
  LiveSequence* Find(SequenceId sequence);
  size_t size() const { return sequences_.size(); }

  // All chunks back to back; a decode chunk's token is kLastSampled. REQUIRES: the plan passed
  // Check, and its starts were added.
  static Batch BuildBatch(const StepPlan& plan);

  // The step with this chunk was queued: the sequence is longer, and has sampled if the chunk does.
  void Advance(const Chunk& chunk);

 private:
  absl::Status CheckChunk(const Chunk& chunk, const LiveSequence* sequence) const;

  const PlanLimits limits_;
  absl::flat_hash_map<SequenceId, LiveSequence> sequences_;
};

}  // namespace headgate
