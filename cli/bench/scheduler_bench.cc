#include "cli/bench/scheduler_bench.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <nlohmann/json.hpp>
#include <random>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "kvstore/page_ledger.h"
#include "scheduler/scheduler.h"

namespace headgate {
namespace {

constexpr int64_t kVocab = 32'000;
constexpr double kBarMicros = 100.0;

// Two ranks of a model with 32 layers and 8 kv heads; half of the rows full, half gated.
GroupShape BenchShape(int64_t running) {
  GroupShape shape;
  shape.epoch = 1;
  shape.page_tokens = 16;
  shape.max_positions = 8192;
  shape.vocab = kVocab;
  for (int rank = 0; rank < 2; ++rank) {
    RankShape& to = shape.ranks.emplace_back();
    to.page_bytes = 16 * 128 * 2 * 2;
    to.rows.push_back({HeadClass::kFull, 64, 0, 0});
    to.rows.push_back({HeadClass::kGated, 64, 16, 64});
    to.pages_total = static_cast<uint32_t>(128 * 32 * running);  // 512 tokens each
  }
  return shape;
}

// The queue is kept full; every plan is answered by honest workers, outside the measured time.
class ClosedLoop {
 public:
  explicit ClosedLoop(const SchedulerBenchOptions& options)
      : options_(options),
        shape_(BenchShape(options.running)),
        ledger_(*PageLedger::Create(shape_)),
        scheduler_(Limits(options)) {
    CHECK(scheduler_.GroupUp(0, shape_, now_).ok());
  }

  // Runs one step and returns the scheduler's share of it, in microseconds.
  absl::StatusOr<double> Step() {
    std::vector<Request> arrivals;
    while (live_ + static_cast<int64_t>(arrivals.size()) < options_.running + options_.queued) {
      arrivals.push_back(DrawRequest());
    }
    live_ += static_cast<int64_t>(arrivals.size());
    std::vector<StepResult> results;
    if (!plans_.empty()) {
      results = Answer(plans_.front());
      plans_.pop_front();
    }
    now_ += absl::Milliseconds(10);
    const auto begin = std::chrono::steady_clock::now();
    for (Request& request : arrivals) scheduler_.SubmitRequest(std::move(request), now_);
    if (!results.empty()) scheduler_.StepDone(0, results, now_);
    Actions actions = scheduler_.RunOnce(now_);
    const std::chrono::duration<double, std::micro> spent =
        std::chrono::steady_clock::now() - begin;
    for (GroupPlan& plan : actions.plans) plans_.push_back(std::move(plan.plan));
    for (const TokenEvent& event : actions.events) {
      if (event.finish == FinishReason::kError) return event.status;
      if (event.finish != FinishReason::kNone) --live_;
    }
    return spent.count();
  }

  SchedulerStats Stats() const { return scheduler_.Stats(); }

 private:
  static SchedulerConfig Limits(const SchedulerBenchOptions& options) {
    SchedulerConfig limits;
    limits.running_limit = options.running;
    limits.waiting_limit = options.running + options.queued;
    limits.step_tokens = options.running + 512;
    return limits;
  }

  Request DrawRequest() {
    Request request;
    request.id = next_id_++;
    const auto prompt = std::uniform_int_distribution<size_t>(32, 256)(random_);
    std::uniform_int_distribution<TokenId> ids(0, kVocab - 1);
    for (size_t i = 0; i < prompt; ++i) request.prompt.push_back(ids(random_));
    request.max_tokens = std::uniform_int_distribution<int64_t>(32, 256)(random_);
    request.stop_tokens = {2};
    request.deadline = now_ + absl::Minutes(30) + absl::Milliseconds(next_id_ % 1000);
    return request;
  }

  std::vector<StepResult> Answer(const StepPlan& plan) {
    std::vector<StepResult> by_rank(shape_.ranks.size());
    for (size_t rank = 0; rank < by_rank.size(); ++rank) {
      by_rank[rank].epoch = plan.epoch;
      by_rank[rank].step = plan.step;
      for (const Chunk& chunk : plan.chunks) {
        SequenceResult& to = by_rank[rank].sequences.emplace_back();
        to.sequence = chunk.sequence;
        to.pages_held = static_cast<uint32_t>(
            ledger_.WorstCase(static_cast<int>(rank), chunk.position + chunk.length()));
        to.sampled = rank == 0 && chunk.sample;
        to.token = 100;
      }
    }
    return by_rank;
  }

  const SchedulerBenchOptions options_;
  const GroupShape shape_;
  const PageLedger ledger_;  // for its arithmetic
  Scheduler scheduler_;
  absl::Time now_ = absl::UnixEpoch();
  std::mt19937_64 random_{1};
  RequestId next_id_ = 1;
  int64_t live_ = 0;
  std::deque<StepPlan> plans_;
};

}  // namespace

void AddSchedulerBenchOptions(CLI::App& command, SchedulerBenchOptions& options) {
  command.add_option("--running", options.running, "sequences that run")->capture_default_str();
  command.add_option("--queued", options.queued, "requests that wait")->capture_default_str();
  command.add_option("--steps", options.steps, "steps to measure")->capture_default_str();
  command.add_flag("--json", options.json, "one JSON object");
}

absl::Status RunSchedulerBench(const SchedulerBenchOptions& options, std::ostream& out) {
  if (!(1 <= options.running && options.running <= 4096) ||
      !(0 <= options.queued && options.queued <= 1'000'000) ||
      !(1 <= options.steps && options.steps <= 10'000'000)) {
    return absl::InvalidArgumentError(
        "running must be in [1, 4096], queued in [0, 1000000], steps in [1, 10000000]");
  }
  ClosedLoop loop(options);
  for (int64_t i = 0; i < 1000; ++i) RETURN_IF_ERROR(loop.Step().status());
  std::vector<double> micros;
  micros.reserve(static_cast<size_t>(options.steps));
  uint64_t running = 0;
  uint64_t waiting = 0;
  for (int64_t i = 0; i < options.steps; ++i) {
    ASSIGN_OR_RETURN(const double spent, loop.Step());
    micros.push_back(spent);
    if (i % 1000 == 0) {
      const SchedulerStats stats = loop.Stats();
      running = std::max(running, stats.requests_running);
      waiting = std::max(waiting, stats.requests_waiting);
    }
  }
  std::sort(micros.begin(), micros.end());
  const auto at = [&micros](double share) {
    return micros[static_cast<size_t>(share * static_cast<double>(micros.size() - 1))];
  };
  if (options.json) {
    out << nlohmann::json{{"running", running},         {"queued", waiting},
                          {"steps", options.steps},     {"median_us", at(0.5)},
                          {"p99_us", at(0.99)},         {"max_us", at(1.0)},
                          {"bar_median_us", kBarMicros}}
               .dump()
        << "\n";
  } else {
    out << absl::StrFormat("%8s %8s %8s %11s %9s %9s\n", "running", "queued", "steps", "median us",
                           "p99 us", "max us")
        << absl::StrFormat("%8d %8d %8d %11.1f %9.1f %9.1f   (bar: median <= %.0f us)\n", running,
                           waiting, options.steps, at(0.5), at(0.99), at(1.0), kBarMicros);
  }
  return absl::OkStatus();
}

}  // namespace headgate
