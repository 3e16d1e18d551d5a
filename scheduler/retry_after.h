// How long a refused client should wait: from the recent rate of finished requests. Integers only,
// so that equal histories give equal answers. Owned by the scheduler's thread.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/time/time.h"

namespace headgate {

class RetryEstimate {
 public:
  void Finished(absl::Time now);
  // Time in which an eighth of `waiting` requests finish at the recent rate; 100 ms .. 30 s.
  absl::Duration RetryAfter(int64_t waiting) const;

 private:
  std::optional<absl::Time> last_;
  int64_t interval_ns_ = 0;  // between finishes; moving average, weight 1/8; 0 = none seen
};

}  // namespace headgate
