// Everything about one run that is drawn from its seed: limits, groups, clients and faults. Limits
// are small so that every one of them is reached.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/group_shape.h"
#include "scheduler/scheduler.h"

namespace headgate::sim {

enum class Mode : uint8_t {
  kSafety,    // faults to the end; nothing wrong may ever be seen
  kLiveness,  // faults stop for good; then every request that a living group can serve must end
};

// What the gated rows of the modelled workers give back at the end of a step.
enum class GateMood : uint8_t { kNothing, kEverything, kAnything };

struct SimConfig {
  uint64_t seed = 0;
  Mode mode = Mode::kSafety;
  SchedulerConfig scheduler;
  std::vector<GroupShape> groups;
  GateMood gate = GateMood::kNothing;

  int64_t requests = 0;
  int64_t arrival_us_max = 0;  // between bursts
  int64_t burst_max = 1;
  int64_t prompt_max = 0;
  int64_t output_max = 0;
  bool flood = false;  // tiny requests in masses, and a few that need most of a pool

  // Per mille, of requests.
  int64_t cancels = 0;
  int64_t replays = 0;
  int64_t deadlines = 0;
  int64_t priorities = 0;
  int64_t scores = 0;
  int64_t invalid = 0;
  // Per mille, of steps.
  int64_t deaths = 0;
  int64_t stalls = 0;
  int64_t duplicates = 0;
  int64_t garbage = 0;
  int64_t bad_results = 0;
  // Per mille, of calls: leave RunOnce to the next event.
  int64_t batched_calls = 0;

  std::string Describe() const;
};

SimConfig DrawConfig(uint64_t seed);

// Pages that `tokens` positions need on a rank. The simulator's own count, from the visibility
// rule.
int64_t NaivePages(const RankShape& rank, int64_t tokens, int64_t page_tokens);
// Longest sequence that an idle group can hold.
int64_t NaiveLongest(const GroupShape& shape);

}  // namespace headgate::sim
