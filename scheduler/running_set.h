// The sequences of one group: requests that hold pages there, oldest first (priority, then
// arrival). At most running_limit of them, so the ordered vector is moved freely. Owned by the
// scheduler's thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/ids.h"
#include "scheduler/request_table.h"

namespace headgate {

// One residence of a request on a group. Token counts are positions of this sequence.
struct Sequence {
  SequenceId id = 0;
  LiveRequest* live = nullptr;
  int64_t prefill_tokens = 0;     // prompt and what was emitted before this residence
  int64_t first_token_index = 0;  // of the first token sampled here
  int64_t samples_max = 0;        // tokens to sample here; known in advance but for stop tokens
  int64_t score_from = 0;         // score requests: first position whose target is still wanted
  int64_t tokens_reserved = 0;    // positions that the ledger has pages for
  int64_t tokens_planned = 0;     // positions that plans have named
  int64_t samples_planned = 0;
  int64_t samples_done = 0;
  bool guaranteed = false;  // pages reserved to its end; never preempted

  bool started() const { return tokens_planned > 0; }
  bool in_prefill() const { return tokens_planned < prefill_tokens; }
  bool decodes() const { return !in_prefill() && samples_planned < samples_max; }
  int64_t prefill_left() const { return prefill_tokens - tokens_planned; }
};

class RunningSet {
 public:
  // REQUIRES: the sequence's id is new.
  Sequence& Add(Sequence sequence);
  Sequence* Find(SequenceId id) const;  // null when it is gone
  void Erase(SequenceId id);

  std::span<const std::unique_ptr<Sequence>> oldest_first() const { return oldest_first_; }
  int64_t size() const { return static_cast<int64_t>(oldest_first_.size()); }
  bool empty() const { return oldest_first_.empty(); }

 private:
  std::vector<std::unique_ptr<Sequence>> oldest_first_;
  absl::flat_hash_map<SequenceId, Sequence*> by_id_;  // never iterated
};

}  // namespace headgate
