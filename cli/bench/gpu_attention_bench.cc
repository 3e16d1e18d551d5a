#include "cli/bench/gpu_attention_bench.h"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "cli/bench/policy_rows.h"
#include "cli/bench/report.h"
#include "worker/cuda/bench/attention_bench.h"

namespace headgate {
namespace {

constexpr int64_t kK = 1024;
constexpr int64_t kLayers = 32;
constexpr int64_t kKvHeads = 8;

struct AttentionOptions {
  std::string policy;
  double sparsity = 0.5;
  bool json = false;
};

struct DecodeCase {
  std::string name;
  std::vector<int64_t> contexts;
  std::vector<RowSpec> rows = {};  // of all layers; empty: all full
  int64_t layers = kLayers;
};

absl::StatusOr<std::vector<DecodeCase>> DecodeCases(const AttentionOptions& options) {
  const auto same = [](size_t batch, int64_t context) {
    return std::vector<int64_t>(batch, context);
  };
  std::vector<int64_t> mixed;
  for (const int64_t k : {1, 2, 3, 5, 8, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128}) {
    mixed.push_back(k * kK);
  }
  std::vector<DecodeCase> cases = {{"16 x 16K", same(16, 16 * kK)},
                                   {"16 x 32K", same(16, 32 * kK)},
                                   {"1 x 32K", same(1, 32 * kK)},
                                   {"1 x 128K", same(1, 128 * kK)},
                                   {"1 x 1M, 8 layers", same(1, 1024 * kK)},
                                   {"1K to 128K", mixed},
                                   {"1K to 128K, streaming", mixed}};
  cases[4].layers = 8;  // what memory holds
  AttentionBenchOptions defaults;
  ASSIGN_OR_RETURN(cases[6].rows, PolicyRows(options.policy, options.sparsity,
                                             {kLayers, kKvHeads, defaults.page_tokens}));
  return cases;
}

AttentionBenchOptions OptionsOf(const DecodeCase& one) {
  AttentionBenchOptions options;
  options.contexts = one.contexts;
  for (int64_t layer = 0; layer < one.layers; ++layer) {
    if (one.rows.empty()) {
      options.rows.emplace_back(kKvHeads);
    } else {
      const auto first = one.rows.begin() + layer * kKvHeads;
      options.rows.emplace_back(first, first + kKvHeads);
    }
  }
  return options;
}

absl::Status RunAttention(const AttentionOptions& options) {
  Report report(options.json);
  ASSIGN_OR_RETURN(const std::vector<DecodeCase> cases, DecodeCases(options));
  for (const DecodeCase& one : cases) {
    ASSIGN_OR_RETURN(const AttentionBenchResult result, BenchAttention(OptionsOf(one)));
    const double share = result.bytes_per_s / result.read_bytes_per_s;
    report.Add(
        absl::StrFormat("%-28s %9.1f us / layer  %6.3f of %6.3f TB/s  %5.1f %%  plan %.1f us",
                        one.name, result.layer_us, result.bytes_per_s / 1e12,
                        result.read_bytes_per_s / 1e12, 100.0 * share, result.plan_us),
        {{"case", one.name},
         {"layer_us", result.layer_us},
         {"plan_us", result.plan_us},
         {"tb_per_s", result.bytes_per_s / 1e12},
         {"ceiling_tb_per_s", result.read_bytes_per_s / 1e12},
         {"share", share}});
  }
  report.Finish();
  return absl::OkStatus();
}

}  // namespace

void AddGpuAttentionBench(CLI::App& bench, Run& run) {
  auto options = std::make_shared<AttentionOptions>();
  CLI::App* attention =
      bench.add_subcommand("attention", "Decode attention from pages, against reading them");
  attention->add_option("--policy", options->policy,
                        "DuoAttention pattern folder for the case with streaming heads; without, "
                        "they are spread evenly");
  attention->add_option("--sparsity", options->sparsity, "share of heads that stream there")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  attention->add_flag("--json", options->json, "one JSON array");
  attention->callback([options, &run] { run = [options] { return RunAttention(*options); }; });
}

}  // namespace headgate
