#include "cli/bench/prompt_bench.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/status_macros.h"
#include "cli/role_flags.h"
#include "worker/collective/local.h"
#include "worker/model/named_shape.h"
#include "worker/worker.h"

namespace headgate {
namespace {

class PromptBench {
 public:
  static absl::StatusOr<std::unique_ptr<PromptBench>> Create(const PromptBenchOptions& options);

  // Seconds of one prompt, its pages free again afterwards.
  absl::StatusOr<double> Run(int64_t tokens);

  int64_t chunk() const { return chunk_; }
  std::string Describe() const { return worker_->Describe(); }

 private:
  PromptBench(std::unique_ptr<Worker> worker, int64_t chunk)
      : worker_(std::move(worker)), chunk_(chunk) {}

  absl::Status Submit(StepPlan plan);
  StepPlan PlanOf(int64_t position, int64_t tokens);

  const std::unique_ptr<Worker> worker_;
  const int64_t chunk_;
  std::mt19937 random_{1};
  StepId step_ = 0;
  SequenceId sequence_ = 0;
};

absl::StatusOr<std::unique_ptr<PromptBench>> PromptBench::Create(
    const PromptBenchOptions& options) {
  WorkerOptions worker;
  worker.model = RandomModel{options.shape};
  worker.device = options.device;
  worker.pages.memory_bytes = PageMemoryOn(options.device);
  worker.policy_dir = options.policy;
  if (options.sparsity >= 0) worker.policy.sparsity = options.sparsity;
  worker.step_tokens_max = options.chunk > 0 ? options.chunk : StepTokensOn(options.device);
  ASSIGN_OR_RETURN(std::unique_ptr<Worker> made,
                   Worker::Create(worker, [](std::string_view, double) {}));
  RETURN_IF_ERROR(made->BeginEpoch(1, MakeSoloCollective()));
  return std::unique_ptr<PromptBench>(new PromptBench(std::move(made), worker.step_tokens_max));
}

absl::Status PromptBench::Submit(StepPlan plan) {
  plan.epoch = 1;
  plan.step = ++step_;
  if (worker_->in_flight() == Worker::kStepsInFlightMax) {
    RETURN_IF_ERROR(worker_->Await().status());
  }
  return worker_->Submit(plan);
}

StepPlan PromptBench::PlanOf(int64_t position, int64_t tokens) {
  const int64_t length = std::min(chunk_, tokens - position);
  std::uniform_int_distribution<TokenId> ids(0, static_cast<TokenId>(worker_->Profile().vocab - 1));
  Chunk chunk{sequence_, position, {}, position + length == tokens, {}};
  for (int64_t i = 0; i < length; ++i) chunk.tokens.push_back(ids(random_));
  StepPlan plan;
  if (position == 0) plan.starts.push_back({sequence_, {}, 0, tokens});
  plan.chunks.push_back(std::move(chunk));
  return plan;
}

absl::StatusOr<double> PromptBench::Run(int64_t tokens) {
  ++sequence_;
  std::vector<StepPlan> plans;  // made before the clock runs
  for (int64_t at = 0; at < tokens; at += chunk_) plans.push_back(PlanOf(at, tokens));
  const absl::Time start = absl::Now();
  for (StepPlan& plan : plans) RETURN_IF_ERROR(Submit(std::move(plan)));
  while (worker_->in_flight() > 0) RETURN_IF_ERROR(worker_->Await().status());
  const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
  StepPlan release;
  release.releases.push_back(sequence_);
  RETURN_IF_ERROR(Submit(std::move(release)));
  RETURN_IF_ERROR(worker_->Await().status());
  return seconds;
}

absl::StatusOr<nlohmann::json> Measure(PromptBench& bench, int64_t tokens, int64_t runs) {
  // Warms up: a whole chunk, and one behind pages.
  RETURN_IF_ERROR(bench.Run(std::min(tokens, 2 * bench.chunk())).status());
  std::vector<double> seconds;
  for (int64_t run = 0; run < runs; ++run) {
    ASSIGN_OR_RETURN(const double one, bench.Run(tokens));
    seconds.push_back(one);
  }
  std::sort(seconds.begin(), seconds.end());
  const double median = seconds[seconds.size() / 2];
  return nlohmann::json{{"tokens", tokens},
                        {"s", median},
                        {"best_s", seconds.front()},
                        {"tokens_per_s", static_cast<double>(tokens) / median},
                        {"best_tokens_per_s", static_cast<double>(tokens) / seconds.front()}};
}

}  // namespace

void AddPromptBenchOptions(CLI::App& command, PromptBenchOptions& options) {
  AddShapeFlags(command, options);
  command.get_option("--sparsity")->needs(command.get_option("--policy"));
  command.add_option("--tokens", options.tokens, "lengths of the prompt, several may be given")
      ->delimiter(',')
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->capture_default_str();
  command.add_option("--chunk", options.chunk, "tokens of a step [as `serve --step-tokens`]")
      ->check(CLI::Range(1, 1 << 16));
  command.add_option("--runs", options.runs, "measured runs of each length")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command.add_flag("--json", options.json, "one JSON object");
}

absl::Status RunPromptBench(const PromptBenchOptions& options, std::ostream& out) {
  ASSIGN_OR_RETURN(const std::unique_ptr<PromptBench> bench, PromptBench::Create(options));
  if (!options.json) {
    out << absl::StreamFormat("%s\n%s in chunks of %d\n%9s %12s %12s %12s\n", bench->Describe(),
                              options.shape, bench->chunk(), "tokens", "s", "tokens / s",
                              "best run");
  }
  nlohmann::json prompts = nlohmann::json::array();
  for (const int64_t tokens : options.tokens) {
    ASSIGN_OR_RETURN(nlohmann::json row, Measure(*bench, tokens, options.runs));
    if (!options.json) {
      out << absl::StreamFormat("%9d %12.4f %12.1f %12.1f\n", tokens, row["s"].get<double>(),
                                row["tokens_per_s"].get<double>(),
                                row["best_tokens_per_s"].get<double>())
          << std::flush;
    }
    prompts.push_back(std::move(row));
  }
  if (options.json) {
    out << nlohmann::json{{"device", bench->Describe()},
                          {"shape", options.shape},
                          {"chunk", bench->chunk()},
                          {"prompts", std::move(prompts)}}
        << "\n";
  }
  return absl::OkStatus();
}

}  // namespace headgate
