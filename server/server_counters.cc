#include "server/server_counters.h"

namespace headgate {

ServerCounters::ServerCounters() {
  stats_.ttft_seconds = Histogram({0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60});
  stats_.inter_token_seconds =
      Histogram({0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5});
  stats_.request_seconds = Histogram({0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600});
}

void ServerCounters::Started() {
  std::lock_guard lock(mutex_);
  ++stats_.requests_started;
  ++stats_.streams_active;
}

void ServerCounters::PromptTokens(int64_t tokens) {
  std::lock_guard lock(mutex_);
  stats_.prompt_tokens += static_cast<uint64_t>(tokens);
}

void ServerCounters::Token(bool first, absl::Duration since) {
  std::lock_guard lock(mutex_);
  ++stats_.tokens_streamed;
  (first ? stats_.ttft_seconds : stats_.inter_token_seconds).Add(absl::ToDoubleSeconds(since));
}

void ServerCounters::SlowReader() {
  std::lock_guard lock(mutex_);
  ++stats_.slow_readers;
}

void ServerCounters::Unwritten(int64_t change) {
  std::lock_guard lock(mutex_);
  stats_.unwritten_bytes += static_cast<uint64_t>(change);
}

void ServerCounters::Ended(const absl::Status& status, absl::Duration took) {
  std::lock_guard lock(mutex_);
  --stats_.streams_active;
  if (status.ok()) {
    ++stats_.requests_ok;
  } else if (absl::IsCancelled(status)) {
    ++stats_.requests_cancelled;
  } else {
    ++stats_.requests_failed;
  }
  stats_.request_seconds.Add(absl::ToDoubleSeconds(took));
}

ServerStats ServerCounters::Stats() const {
  std::lock_guard lock(mutex_);
  return stats_;
}

}  // namespace headgate
