#include "tests/sim/sim_config.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "kvstore/visibility.h"
#include "tests/sim/random.h"

namespace headgate::sim {
namespace {

RowGroup DrawRows(Random& random, int64_t page_tokens) {
  RowGroup rows;
  rows.rows = static_cast<uint32_t>(random.Between(1, 4));
  rows.head_class = static_cast<HeadClass>(random.Between(0, 2));
  if (rows.head_class == HeadClass::kFull) return rows;
  rows.sinks = random.Between(0, 1) * page_tokens;
  rows.window = random.Between(1, 2) * page_tokens;
  return rows;
}

GroupShape DrawGroup(Random& random, const SimConfig& config, int64_t page_tokens, int64_t vocab) {
  GroupShape shape;
  shape.page_tokens = page_tokens;
  shape.vocab = vocab;
  shape.max_positions = random.Between(32, 400);
  const int64_t ranks = random.Between(1, 2);
  const int64_t longest = config.prompt_max + config.output_max;
  const int64_t capacity = random.Between(longest / 2 + page_tokens, 3 * longest);
  for (int64_t i = 0; i < ranks; ++i) {
    RankShape& rank = shape.ranks.emplace_back();
    rank.page_bytes = 64;
    if (random.Chance(400)) rank.sequences_max = random.Between(1, 12);
    for (int64_t j = random.Between(1, 2); j > 0; --j) {
      rank.rows.push_back(DrawRows(random, page_tokens));
    }
    rank.pages_total = static_cast<uint32_t>(NaivePages(rank, capacity, page_tokens) +
                                             random.Between(0, page_tokens));
  }
  return shape;
}

void DrawFaults(Random& random, SimConfig& config) {
  const auto sometimes = [&random](int64_t most) {
    return random.Chance(600) ? random.Between(1, most) : 0;
  };
  config.cancels = sometimes(300);
  config.replays = sometimes(150);
  config.deadlines = sometimes(300);
  config.priorities = sometimes(400);
  config.scores = sometimes(300);
  config.invalid = sometimes(60);
  config.deaths = sometimes(12);
  config.stalls = sometimes(20);
  config.duplicates = sometimes(40);
  config.garbage = sometimes(30);
  config.bad_results = sometimes(15);
  config.batched_calls = sometimes(300);
}

}  // namespace

SimConfig DrawConfig(uint64_t seed) {
  Random random(seed * 0x9e3779b97f4a7c15ull + 1);
  SimConfig config;
  config.seed = seed;
  config.mode = random.Chance(500) ? Mode::kLiveness : Mode::kSafety;
  SchedulerConfig& limits = config.scheduler;
  limits.groups = static_cast<int>(random.Between(1, 3));
  limits.waiting_limit = random.Chance(300) ? random.Between(2, 10) : 1000;
  limits.running_limit = random.Between(1, 12);
  limits.step_tokens = random.Between(2, 64);
  limits.chunk_tokens = random.Between(1, 64);
  limits.prompt_tokens_max = 1000;
  limits.steps_in_flight = random.Chance(600) ? 2 : random.Between(1, 4);
  limits.deadline_max = random.Chance(100) ? absl::Seconds(5) : absl::Hours(1);
  limits.admission.preemptions_max = random.Between(1, 4);
  limits.admission.growth_parts = random.Chance(500) ? 16 : 0;
  config.flood = random.Chance(150);
  config.requests = config.flood ? 250 : random.Between(10, 60);
  config.prompt_max = random.Between(4, 60);
  config.output_max = random.Between(2, 60);
  config.arrival_us_max = random.Between(1'000, 200'000);
  config.burst_max = random.Between(1, 12);
  config.gate = static_cast<GateMood>(random.Between(0, 2));
  const int64_t page_tokens = int64_t{1} << random.Between(1, 4);
  const int64_t vocab = random.Between(20, 300);
  for (int i = 0; i < limits.groups; ++i) {
    config.groups.push_back(DrawGroup(random, config, page_tokens, vocab));
  }
  DrawFaults(random, config);
  return config;
}

std::string SimConfig::Describe() const {
  std::string out = absl::StrCat(
      "seed ", seed, ", ", mode == Mode::kSafety ? "safety" : "liveness", ": ", scheduler.groups,
      " groups, waiting ", scheduler.waiting_limit, ", running ", scheduler.running_limit,
      ", step tokens ", scheduler.step_tokens, ", chunk ", scheduler.chunk_tokens, ", in flight ",
      scheduler.steps_in_flight, ", preemptions ", scheduler.admission.preemptions_max,
      ", growth 1/", scheduler.admission.growth_parts, ", deadline max ",
      absl::FormatDuration(scheduler.deadline_max), "\n", requests,
      " requests, prompt <= ", prompt_max, ", output <= ", output_max, ", flood ", flood,
      ", gate mood ", static_cast<int>(gate), "\nper mille: cancels ", cancels, ", replays ",
      replays, ", deadlines ", deadlines, ", priorities ", priorities, ", scores ", scores,
      ", invalid ", invalid, ", deaths ", deaths, ", stalls ", stalls, ", duplicates ", duplicates,
      ", garbage ", garbage, ", bad results ", bad_results, ", batched ", batched_calls);
  for (const GroupShape& shape : groups) {
    absl::StrAppend(&out, "\ngroup: pages of ", shape.page_tokens, " tokens, positions ",
                    shape.max_positions, ", longest ", NaiveLongest(shape));
    for (const RankShape& rank : shape.ranks) {
      absl::StrAppend(&out, "; rank with ", rank.pages_total, " pages, at most ",
                      rank.sequences_max, " sequences, rows");
      for (const RowGroup& rows : rank.rows) {
        absl::StrAppend(&out, " ", rows.rows, "x", static_cast<int>(rows.head_class));
      }
    }
  }
  return out;
}

int64_t NaivePages(const RankShape& rank, int64_t tokens, int64_t page_tokens) {
  int64_t pages = 0;
  for (const RowGroup& rows : rank.rows) {
    const RowSpec spec{rows.head_class, rows.sinks, rows.window};
    pages += rows.rows * WorstCasePages(spec, tokens, page_tokens);
  }
  return pages;
}

int64_t NaiveLongest(const GroupShape& shape) {
  for (int64_t tokens = shape.max_positions; tokens > 0; --tokens) {
    bool fits = true;
    for (const RankShape& rank : shape.ranks) {
      fits &= NaivePages(rank, tokens, shape.page_tokens) <= rank.pages_total;
    }
    if (fits) return tokens;
  }
  return 0;
}

}  // namespace headgate::sim
