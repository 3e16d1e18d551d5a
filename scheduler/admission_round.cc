#include "scheduler/admission_round.h"

namespace headgate {
namespace {

// Requests of one tier that may be skipped in one walk. All of a tier can be served by the same
// groups once these drain, so a longer look would only reorder.
constexpr int64_t kSkippedMax = 16;

}  // namespace

AdmissionRound::AdmissionRound(const WaitingQueue& waiting)
    : waiting_(waiting), cursors_(waiting.tiers()) {
  for (size_t tier = 0; tier < cursors_.size(); ++tier) cursors_[tier].next = waiting.FirstOf(tier);
}

LiveRequest* AdmissionRound::Next(const std::vector<uint8_t>& served) {
  LiveRequest* first = nullptr;
  for (size_t tier = 0; tier < cursors_.size(); ++tier) {
    const Cursor& cursor = cursors_[tier];
    if (served[tier] == 0 || cursor.next == nullptr || cursor.skipped >= kSkippedMax) continue;
    if (first != nullptr && first->order < cursor.next->order) continue;
    first = cursor.next;
    last_tier_ = tier;
  }
  if (first != nullptr) cursors_[last_tier_].next = waiting_.After(last_tier_, first->order);
  return first;
}

void AdmissionRound::Skip() { ++cursors_[last_tier_].skipped; }

}  // namespace headgate
