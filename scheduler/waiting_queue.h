// Requests that hold no pages and wait for some: by priority, then arrival. A preempted request
// keeps its arrival, so it returns to where it was. Owned by the scheduler's thread.
//
// The queue is kept in tiers, one per capacity of a group: a request stands in the lowest tier
// whose groups can ever serve it. So requests that wait for a large group never hide those that an
// idle small one could serve, however many they are (vllm#45388).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/container/btree_map.h"
#include "scheduler/request_table.h"

namespace headgate {

class WaitingQueue {
 public:
  using Tier = absl::btree_map<OrderKey, LiveRequest*>;

  WaitingQueue();

  // New tiers: longest sequence of each group, ascending, distinct. O(waiting).
  void SetTiers(std::vector<int64_t> longest);

  // REQUIRES: not in the queue.
  void Add(LiveRequest& live);
  // REQUIRES: in the queue.
  void Erase(const LiveRequest& live);

  // Tiers are ascending; the last one holds what no known group can serve.
  size_t tiers() const { return tiers_.size(); }
  const Tier& tier(size_t index) const { return tiers_[index]; }
  // Whether a group whose longest sequence is `longest` serves all of this tier.
  bool Serves(int64_t longest, size_t tier) const {
    return tier < longest_.size() && longest_[tier] <= longest;
  }
  // The first of a tier, or the next after `order`; null at the end. Survives changes between
  // calls.
  LiveRequest* FirstOf(size_t tier) const;
  LiveRequest* After(size_t tier, OrderKey order) const;
  // The first of all; null when empty.
  LiveRequest* First() const;

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

 private:
  size_t TierOf(const LiveRequest& live) const;

  std::vector<int64_t> longest_;  // by tier but the last
  std::vector<Tier> tiers_;
  size_t size_ = 0;
};

}  // namespace headgate
