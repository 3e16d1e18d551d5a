#include "scheduler/running_set.h"

#include <algorithm>

#include "base/check.h"

namespace headgate {
namespace {

bool Older(const std::unique_ptr<Sequence>& sequence, const OrderKey& order) {
  return sequence->live->order < order;
}

}  // namespace

Sequence& RunningSet::Add(Sequence sequence) {
  auto owned = std::make_unique<Sequence>(sequence);
  Sequence& added = *owned;
  CHECK(by_id_.emplace(added.id, &added).second) << "sequence " << added.id << " runs twice";
  const auto at =
      std::lower_bound(oldest_first_.begin(), oldest_first_.end(), added.live->order, Older);
  oldest_first_.insert(at, std::move(owned));
  return added;
}

Sequence* RunningSet::Find(SequenceId id) const {
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : it->second;
}

void RunningSet::Erase(SequenceId id) {
  const auto it = by_id_.find(id);
  CHECK(it != by_id_.end()) << "sequence " << id << " does not run";
  const auto at =
      std::lower_bound(oldest_first_.begin(), oldest_first_.end(), it->second->live->order, Older);
  CHECK(at != oldest_first_.end() && at->get() == it->second) << "sequence " << id;
  by_id_.erase(it);
  oldest_first_.erase(at);
}

}  // namespace headgate
