// Plain counters that roles keep and metrics/ exports. No Prometheus here.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/step.h"

namespace headgate {

// Cumulative histogram with fixed upper bounds (seconds). counts has one more entry: +Inf.
struct Histogram {
  std::vector<double> bounds;
  std::vector<uint64_t> counts;
  double sum = 0.0;

  explicit Histogram(std::vector<double> upper_bounds = {})
      : bounds(std::move(upper_bounds)), counts(bounds.size() + 1, 0) {}

  void Add(double value) {
    size_t i = 0;
    while (i < bounds.size() && value > bounds[i]) ++i;
    ++counts[i];
    sum += value;
  }
};

struct RankStats {
  int group = 0;
  int rank = 0;
  PageStats pages;
  uint32_t ledger_reserved = 0;  // pages promised to steps in flight
  uint32_t ledger_held = 0;      // pages that the ledger believes are held
  // Of the link to this rank and of its process, as it last told. Filled by the gRPC shell.
  std::vector<QueueStats> queues;
};

struct SchedulerStats {
  uint64_t requests_waiting = 0;
  uint64_t requests_waiting_limit = 0;
  uint64_t requests_running = 0;
  uint64_t groups_ready = 0;
  uint64_t groups_total = 0;
  uint64_t steps = 0;
  uint64_t prompt_tokens = 0;     // computed, replays included
  uint64_t generated_tokens = 0;  // sent out
  uint64_t preemptions = 0;
  uint64_t replays = 0;  // sequences begun again after their group was lost
  uint64_t group_restarts = 0;
  uint64_t cancelled = 0;
  uint64_t deadline_exceeded = 0;
  uint64_t refused_full = 0;      // RESOURCE_EXHAUSTED
  uint64_t refused_invalid = 0;   // INVALID_ARGUMENT
  uint64_t stale_messages = 0;    // older epoch or unknown sequence: ignored
  Histogram step_seconds_decode;  // steps with decode chunks only
  Histogram step_seconds_mixed;   // steps with any prefill chunk
  StepTimes step_times;           // of the groups' ranks 0, of all steps that computed something
  std::vector<RankStats> ranks;
  // Filled by the gRPC shell.
  uint64_t servers_attached = 0;
  uint64_t peers_dropped = 0;  // links ended because of a malformed or unread message
  std::vector<QueueStats> queues;
};

struct ServerStats {
  uint64_t requests_started = 0;
  uint64_t requests_ok = 0;
  uint64_t requests_failed = 0;
  uint64_t requests_cancelled = 0;
  uint64_t streams_active = 0;
  uint64_t tokens_streamed = 0;
  uint64_t scheduler_reconnects = 0;
  uint64_t scheduler_attached = 0;  // 0 or 1
  uint64_t replays = 0;             // requests sent again after the scheduler was lost
  uint64_t stale_messages = 0;      // repeated token or unknown request: ignored
  uint64_t slow_readers = 0;        // streams ended because the client did not read
  uint64_t prompt_tokens = 0;
  uint64_t unwritten_bytes = 0;  // of answers that their clients have not read yet
  std::vector<QueueStats> queues;
  Histogram ttft_seconds;
  Histogram inter_token_seconds;
  Histogram request_seconds;
};

}  // namespace headgate
