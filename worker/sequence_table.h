// The sequences that live on this rank, beside their pages: what sampling needs to know of each,
// and the check of every plan before anything is touched. The worker's step thread owns it. All
// ranks keep the same table.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "base/step.h"
#include "worker/backend.h"
#include "worker/sampling/penalties.h"

namespace headgate {

struct PlanLimits {
  int64_t vocab = 0;
  int64_t positions_max = 0;    // of one sequence
  int64_t step_tokens_max = 0;  // of one step, all chunks together
};

struct LiveSequence {
  SequenceStart start;
  int64_t length = 0;                     // positions whose keys and values are in pages
  int64_t next_token_index = 0;           // of the token that will be sampled next
  std::optional<TokenId> last;            // sampled last; the next decode chunk feeds it, once
  bool failed = false;                    // its logits were not finite once: it stays failed
  int64_t counted = 0;                    // positions that `history` knows
  std::unique_ptr<TokenHistory> history;  // null without penalties
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
  LiveSequence& at(SequenceId sequence) { return sequences_.find(sequence)->second; }
  size_t size() const { return sequences_.size(); }

  // All chunks back to back. REQUIRES: the plan passed Check, and its starts were added.
  Batch BuildBatch(const StepPlan& plan) const;

  // The chunk's tokens were computed: histories and lengths advance.
  void Advance(const Chunk& chunk);

  // A token followed the chunk that Advance took last; nullopt: its logits were not finite.
  void AddSampled(SequenceId sequence, std::optional<TokenId> token);

 private:
  absl::Status CheckChunk(const Chunk& chunk, const LiveSequence* sequence) const;

  const PlanLimits limits_;
  absl::flat_hash_map<SequenceId, LiveSequence> sequences_;
};

}  // namespace headgate
