#include "scheduler/retry_after.h"

#include <algorithm>

namespace headgate {
namespace {

constexpr int64_t kRetryMinNs = 100'000'000;
constexpr int64_t kRetryMaxNs = 30'000'000'000;
constexpr int64_t kWeight = 8;      // of the moving average
constexpr int64_t kQueueParts = 8;  // a retry needs some room in the queue, not an empty one

}  // namespace

void RetryEstimate::Finished(absl::Time now) {
  if (last_.has_value()) {
    const int64_t ns = std::clamp<int64_t>(absl::ToInt64Nanoseconds(now - *last_), 0, kRetryMaxNs);
    interval_ns_ = interval_ns_ == 0 ? ns : interval_ns_ + (ns - interval_ns_) / kWeight;
  }
  last_ = now;
}

absl::Duration RetryEstimate::RetryAfter(int64_t waiting) const {
  const int64_t requests = std::max<int64_t>(1, waiting / kQueueParts);
  const int64_t ns = interval_ns_ > kRetryMaxNs / requests ? kRetryMaxNs : interval_ns_ * requests;
  return absl::Nanoseconds(std::clamp(ns, kRetryMinNs, kRetryMaxNs));
}

}  // namespace headgate
