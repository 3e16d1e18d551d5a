#include "scheduler/request_table.h"

#include <algorithm>

#include "base/check.h"

namespace headgate {

int64_t LiveRequest::tokens_left() const {
  if (!request.emitted.empty()) {
    const std::vector<TokenId>& stops = request.stop_tokens;
    if (std::find(stops.begin(), stops.end(), request.emitted.back()) != stops.end()) return 0;
  }
  return request.max_tokens - emitted_tokens();
}

LiveRequest& RequestTable::Add(Request request, OrderKey order) {
  auto live = std::make_unique<LiveRequest>();
  live->request = std::move(request);
  live->order = order;
  const RequestId id = live->request.id;
  by_deadline_.emplace(live->request.deadline, id);
  const auto [it, added] = by_id_.emplace(id, std::move(live));
  CHECK(added) << "request " << id << " is already live";
  return *it->second;
}

LiveRequest* RequestTable::Find(RequestId id) const {
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : it->second.get();
}

void RequestTable::Erase(RequestId id) {
  const auto it = by_id_.find(id);
  CHECK(it != by_id_.end()) << "request " << id << " is not live";
  by_deadline_.erase({it->second->request.deadline, id});
  by_id_.erase(it);
}

LiveRequest* RequestTable::FirstExpired(absl::Time now) const {
  if (by_deadline_.empty() || by_deadline_.begin()->first > now) return nullptr;
  return Find(by_deadline_.begin()->second);
}

absl::Time RequestTable::FirstDeadline() const {
  return by_deadline_.empty() ? absl::InfiniteFuture() : by_deadline_.begin()->first;
}

}  // namespace headgate
