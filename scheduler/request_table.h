// Every live request, by id and by deadline. Owned by the scheduler's thread.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "base/ids.h"
#include "base/request.h"

namespace headgate {

// Who goes first: higher priority, then earlier arrival. Total: arrivals are unique.
struct OrderKey {
  int32_t priority = 0;
  uint64_t arrival = 0;

  bool operator<(const OrderKey& other) const {
    return priority != other.priority ? priority > other.priority : arrival < other.arrival;
  }
  bool operator==(const OrderKey&) const = default;
};

// A request from its submission to its last event. Waiting (group < 0) or running on one group.
struct LiveRequest {
  Request request;  // request.emitted grows as tokens go out
  OrderKey order;
  int group = -1;
  SequenceId sequence = 0;  // its residence on `group`
  int64_t preemptions = 0;  // residences that had begun and were taken away for want of pages
  int64_t passed_over = 0;  // requests admitted past this one while it was the first to wait
  std::vector<float> prompt_logprobs;  // score requests: of prompt[1..], as far as computed
  std::vector<TokenId> prompt_top;     // parallel

  bool running() const { return group >= 0; }
  int64_t prompt_tokens() const { return static_cast<int64_t>(request.prompt.size()); }
  int64_t emitted_tokens() const { return static_cast<int64_t>(request.emitted.size()); }
  int64_t tokens_max() const { return prompt_tokens() + request.max_tokens; }
  // Tokens that are still to be sampled; 0 after a stop token.
  int64_t tokens_left() const;
  // Whether any prompt log-probability is still to be computed.
  bool scores_left() const {
    return request.score && static_cast<int64_t>(prompt_logprobs.size()) < prompt_tokens() - 1;
  }
  // False: a replay of a complete stream, or a score of a single token.
  bool work_left() const { return tokens_left() > 0 || scores_left(); }
};

class RequestTable {
 public:
  // REQUIRES: the id is not live.
  LiveRequest& Add(Request request, OrderKey order);
  LiveRequest* Find(RequestId id) const;  // null when not live
  void Erase(RequestId id);

  // The earliest deadline and whose it is; null when there is none at or before `now`.
  LiveRequest* FirstExpired(absl::Time now) const;
  absl::Time FirstDeadline() const;  // InfiniteFuture when nothing is live

  size_t size() const { return by_id_.size(); }
  size_t deadlines() const { return by_deadline_.size(); }

 private:
  absl::flat_hash_map<RequestId, std::unique_ptr<LiveRequest>> by_id_;  // never iterated
  absl::btree_set<std::pair<absl::Time, RequestId>> by_deadline_;
};

}  // namespace headgate
