// One walk over the waiting requests in their order, tier by tier, with a bounded look past those
// that do not fit now. Holds no rule about pages. Lives within one call of the scheduler's thread.
#pragma once

#include <cstdint>
#include <vector>

#include "scheduler/waiting_queue.h"

namespace headgate {

class AdmissionRound {
 public:
  // `waiting` must outlive the round; the walk survives the removal of requests it has returned.
  explicit AdmissionRound(const WaitingQueue& waiting);

  // The next request, by order, in a tier t with served[t] that was not skipped too often; null at
  // the end.
  LiveRequest* Next(const std::vector<uint8_t>& served);
  // The request last returned does not fit anywhere now.
  void Skip();

 private:
  struct Cursor {
    LiveRequest* next = nullptr;
    int64_t skipped = 0;
  };

  const WaitingQueue& waiting_;
  std::vector<Cursor> cursors_;  // by tier
  size_t last_tier_ = 0;
};

}  // namespace headgate
