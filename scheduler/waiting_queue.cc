#include "scheduler/waiting_queue.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace headgate {

WaitingQueue::WaitingQueue() : tiers_(1) {}

void WaitingQueue::SetTiers(std::vector<int64_t> longest) {
  const std::vector<Tier> before = std::exchange(tiers_, std::vector<Tier>(longest.size() + 1));
  longest_ = std::move(longest);
  size_ = 0;
  for (const Tier& tier : before) {
    for (const auto& [order, live] : tier) Add(*live);
  }
}

size_t WaitingQueue::TierOf(const LiveRequest& live) const {
  const auto at = std::lower_bound(longest_.begin(), longest_.end(), live.tokens_max());
  return static_cast<size_t>(at - longest_.begin());
}

void WaitingQueue::Add(LiveRequest& live) {
  const bool added = tiers_[TierOf(live)].emplace(live.order, &live).second;
  CHECK(added) << "request " << live.request.id << " waits twice";
  ++size_;
}

void WaitingQueue::Erase(const LiveRequest& live) {
  CHECK_EQ(tiers_[TierOf(live)].erase(live.order), size_t{1}) << "request " << live.request.id;
  --size_;
}

LiveRequest* WaitingQueue::FirstOf(size_t tier) const {
  return tiers_[tier].empty() ? nullptr : tiers_[tier].begin()->second;
}

LiveRequest* WaitingQueue::After(size_t tier, OrderKey order) const {
  const auto it = tiers_[tier].upper_bound(order);
  return it == tiers_[tier].end() ? nullptr : it->second;
}

LiveRequest* WaitingQueue::First() const {
  LiveRequest* first = nullptr;
  for (size_t tier = 0; tier < tiers_.size(); ++tier) {
    LiveRequest* const live = FirstOf(tier);
    if (live != nullptr && (first == nullptr || live->order < first->order)) first = live;
  }
  return first;
}

}  // namespace headgate
