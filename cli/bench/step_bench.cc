#include "cli/bench/step_bench.h"

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "cli/bench/step_rank.h"
#include "cli/bench/step_setup.h"
#include "worker/collective/forked_ranks.h"
#include "worker/collective/local.h"

namespace headgate {
namespace {

constexpr absl::Duration kGroupTimeMax = absl::Hours(2);

// What rank 0 prints: rows of a table as they are measured, or one JSON object at the end.
class StepReport {
 public:
  StepReport(const StepBenchOptions& options, const StepSetup& setup, const StepRank& rank,
             std::ostream& out)
      : json_(options.json),
        out_(out),
        bytes_read_(rank.weight_bytes_read()),
        bytes_held_(rank.weight_bytes_held()),
        head_({{"device", rank.device()},
               {"shape", options.shape},
               {"ranks", options.ranks},
               {"layers", setup.shape.layers},
               {"page_layers", setup.page_layers},
               {"weight_bytes", bytes_read_},
               {"weight_bytes_held", bytes_held_}}) {}

  void Begin() const;
  void Add(const StepFigures& figures);
  void AddUnfit(int64_t batch, int64_t context);
  void Finish();

 private:
  const bool json_;
  std::ostream& out_;
  const int64_t bytes_read_;  // of weights, by a step
  const int64_t bytes_held_;
  nlohmann::json head_;
  nlohmann::json rows_ = nlohmann::json::array();
};

void StepReport::Begin() const {
  if (json_) return;
  const auto number = [this](const char* key) { return head_[key].get<int64_t>(); };
  out_ << absl::StreamFormat("%s, %s, %.1f GB of weights read by a step, %.1f GB held",
                             head_["device"].get<std::string>(), head_["shape"].get<std::string>(),
                             static_cast<double>(bytes_read_) / 1e9,
                             static_cast<double>(bytes_held_) / 1e9);
  if (number("ranks") > 1) out_ << ", by each of " << number("ranks") << " ranks";
  if (const int64_t pages = number("page_layers"); pages < number("layers")) {
    out_ << "\n"
         << number("layers") << " layers share the pages of " << pages
         << ": layer l has those of l % " << pages;
  }
  out_ << absl::StreamFormat("\n%8s %9s %12s %12s %10s %10s %8s\n", "batch", "context", "us / step",
                             "tokens / s", "TB/s", "KV GB held", "idle %")
       << std::flush;
}

void StepReport::Add(const StepFigures& figures) {
  const auto batch = static_cast<double>(figures.batch);
  const auto bytes = static_cast<double>(bytes_read_ + figures.kv_bytes_read);
  const double tokens_per_s = batch / figures.micros * 1e6;
  const double tb_per_s = bytes / figures.micros / 1e6;
  rows_.push_back({{"batch", figures.batch},
                   {"context", figures.context},
                   {"us", figures.micros},
                   {"tokens_per_s", tokens_per_s},
                   {"bytes", bytes},
                   {"tb_per_s", tb_per_s},
                   {"kv_bytes_held", figures.kv_bytes_held},
                   {"bytes_held", bytes_held_ + figures.kv_bytes_held}});
  std::string idle = "-";
  if (figures.device.has_value()) {
    const auto [busy, device_idle] = *figures.device;
    const double share = absl::FDivDuration(device_idle, busy + device_idle);
    rows_.back()["idle_share"] = share;
    idle = absl::StrFormat("%.2f", 100.0 * share);
  }
  if (json_) return;
  out_ << absl::StreamFormat("%8d %9d %12.1f %12.1f %10.2f %10.2f %8s\n", figures.batch,
                             figures.context, figures.micros, tokens_per_s, tb_per_s,
                             static_cast<double>(figures.kv_bytes_held) / 1e9, idle)
       << std::flush;
}

void StepReport::AddUnfit(int64_t batch, int64_t context) {
  rows_.push_back({{"batch", batch}, {"context", context}, {"error", "does not fit"}});
  if (json_) return;
  out_ << absl::StreamFormat("%8d %9d does not fit\n", batch, context) << std::flush;
}

void StepReport::Finish() {
  if (!json_) return;
  head_["steps"] = std::move(rows_);
  out_ << head_ << "\n" << std::flush;
}

absl::Status MeasureRank(const StepBenchOptions& options, const StepSetup& setup, Collective& peers,
                         std::ostream& out) {
  ASSIGN_OR_RETURN(const std::unique_ptr<StepRank> rank, StepRank::Create(options, setup, peers));
  StepReport report(options, setup, *rank, out);
  const bool tells = peers.rank() == 0;
  if (tells) report.Begin();
  for (const int64_t context : options.contexts) {
    for (const int64_t batch : options.batches) {
      const absl::StatusOr<StepFigures> figures = rank->Run(batch, context);
      if (!figures.ok() && !absl::IsResourceExhausted(figures.status())) return figures.status();
      if (!tells) continue;
      if (figures.ok()) {
        report.Add(*figures);
      } else {
        report.AddUnfit(batch, context);
      }
    }
  }
  if (tells) report.Finish();
  return absl::OkStatus();
}

}  // namespace

void AddStepBenchOptions(CLI::App& command, StepBenchOptions& options) {
  AddShapeFlags(command, options);
  command.get_option("--sparsity")
      ->description(
          "share of streaming heads: with --policy by the pattern's gates; without, that share of "
          "every layer's kv heads, spread evenly (64 sinks, 256 recent)");
  command.add_option("--batch", options.batches, "sequences, several may be given")
      ->delimiter(',')
      ->check(CLI::Range(int64_t{1}, int64_t{4096}))
      ->capture_default_str();
  command.add_option("--context", options.contexts, "positions before the step, several")
      ->delimiter(',')
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->capture_default_str();
  command.add_option("--steps", options.steps, "measured steps of each")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  command.add_option("--page-tokens", options.page_tokens, "positions in a page; a power of two")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command
      .add_option("--page-layers", options.page_layers,
                  "layers with pages of their own, where memory lacks: layer l reads and writes "
                  "those of layer l % N, which must keep the same positions [all]")
      ->check(CLI::Range(1, 4096));
  command
      .add_option("--kv-memory-mib", options.kv_memory_mib,
                  "memory for KV pages of a rank, MiB; 0: what the device can spare")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 24))
      ->capture_default_str();
  command
      .add_option("--ranks", options.ranks,
                  "ranks of a tensor-parallel group: a process each, with a GPU each or a share of "
                  "the cores; figures are rank 0's")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  command.add_flag("--json", options.json, "one JSON object");
}

absl::Status RunStepBench(const StepBenchOptions& options, std::ostream& out) {
  ASSIGN_OR_RETURN(const StepSetup setup, SetUpSteps(options));
  if (options.ranks == 1) {
    const std::unique_ptr<Collective> alone = MakeSoloCollective();
    return MeasureRank(options, setup, *alone, out);
  }
  out.flush();  // children must not print again what waits here
  return RunForked(options.ranks, kGroupTimeMax,
                   [&](Collective& peers) { return MeasureRank(options, setup, peers, out); });
}

}  // namespace headgate
