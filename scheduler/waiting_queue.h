// Requests that hold no pages and wait for some: by priority, then arrival. A preempted request
// keeps its arrival, so it returns to where it was. Owned by the scheduler's thread.
#pragma once

#include <cstddef>

#include "absl/container/btree_map.h"
#include "base/check.h"
#include "scheduler/request_table.h"

namespace headgate {

class WaitingQueue {
 public:
  using Iterator = absl::btree_map<OrderKey, LiveRequest*>::const_iterator;

  void Add(LiveRequest& live) {
    const bool added = by_order_.emplace(live.order, &live).second;
    CHECK(added) << "request " << live.request.id << " waits twice";
  }
  void Erase(const LiveRequest& live) {
    CHECK_EQ(by_order_.erase(live.order), size_t{1}) << "request " << live.request.id;
  }

  LiveRequest* First() const { return by_order_.empty() ? nullptr : by_order_.begin()->second; }
  // The next after `order`; null at the end. Survives changes between calls.
  LiveRequest* After(OrderKey order) const {
    const auto it = by_order_.upper_bound(order);
    return it == by_order_.end() ? nullptr : it->second;
  }

  Iterator begin() const { return by_order_.begin(); }
  Iterator end() const { return by_order_.end(); }
  size_t size() const { return by_order_.size(); }
  bool empty() const { return by_order_.empty(); }

 private:
  absl::btree_map<OrderKey, LiveRequest*> by_order_;
};

}  // namespace headgate
