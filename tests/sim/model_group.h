// One modelled worker group: checks every plan against the contract, counts pages per rank on its
// own and answers with the oracle's tokens. Steps run in order, one at a time.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "base/group_shape.h"
#include "base/step.h"
#include "tests/sim/client_book.h"
#include "tests/sim/random.h"
#include "tests/sim/sim_config.h"

namespace headgate::sim {

class ModelGroup {
 public:
  explicit ModelGroup(const SimConfig& config) : config_(&config) {}

  // A new life with empty pools.
  void Boot(const GroupShape& shape);
  void Die();

  // INTERNAL: the plan breaks the contract. Requests that lost their pages while alive are counted
  // as preempted in `book`.
  absl::Status Receive(const StepPlan& plan, ClientBook& book);
  // Completes the oldest plan. REQUIRES: queued() > 0.
  std::vector<StepResult> FinishStep(Random& random);
  // As FinishStep, then changes what rank 0 says of one live sequence: the request it was, or 0
  // when no lie was told.
  RequestId FinishStepWithALie(Random& random, ClientBook& book, std::vector<StepResult>& out);

  bool alive() const { return alive_; }
  size_t queued() const { return queue_.size(); }
  int64_t tokens_in_front() const { return queue_.front().tokens; }
  bool has_chunks_in_front() const { return !queue_.front().results.empty(); }
  bool empty() const { return sequences_.empty() && queue_.empty(); }
  const GroupShape& shape() const { return shape_; }

 private:
  struct ModelSequence {
    RequestId request = 0;
    int64_t first_index = 0;
    uint64_t context = kNoContext;
    int64_t tokens_planned = 0;
    int64_t tokens_done = 0;
    int64_t samples = 0;
    TokenId last_sampled = -1;
    bool sampled_last = false;   // the last chunk sampled: a decode may follow
    StepId released_at = 0;      // 0: not released
    std::vector<int64_t> gated;  // by rank: pages of gated rows when the last step was done
  };
  struct QueuedStep {
    StepId step = 0;
    int64_t tokens = 0;
    std::vector<SequenceResult> results;
    std::vector<int64_t> tokens_after;  // parallel to results
    std::vector<SequenceId> releases;
  };
  static constexpr uint64_t kNoContext = 0;

  absl::Status ReceiveReleases(const StepPlan& plan, ClientBook& book, QueuedStep& queued);
  absl::Status ReceiveStart(const SequenceStart& start, const ClientBook& book);
  absl::Status ReceiveChunk(const Chunk& chunk, const ClientBook& book, QueuedStep& queued);
  absl::Status CheckChunkTokens(const Chunk& chunk, const ModelSequence& sequence,
                                const Client& client) const;
  absl::Status CheckPages() const;
  absl::Status CheckPlaces() const;
  int64_t PagesOf(int64_t tokens) const {
    return (tokens + shape_.page_tokens - 1) / shape_.page_tokens;
  }
  int64_t Held(size_t rank, const ModelSequence& sequence) const;
  int64_t Charge(size_t rank, const ModelSequence& sequence) const;

  const SimConfig* config_;
  GroupShape shape_;
  std::vector<int64_t> gated_rows_;  // by rank
  bool alive_ = false;
  StepId last_step_ = 0;
  std::map<SequenceId, ModelSequence> sequences_;
  std::set<SequenceId> seen_;
  std::deque<QueuedStep> queue_;
};

}  // namespace headgate::sim
