#include "cli/bench/serve_bench.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/host_port.h"
#include "base/status_macros.h"
#include "cli/bench/serve_target.h"

namespace headgate {
namespace {

struct Workload {
  const char* name;
  int64_t prompt_tokens;
  int64_t output_tokens;
  int streams;
  double bar;  // the ratio that the project promises over llama-server
};

// Prompt processing is timed to the first token; decode by the tokens after it.
constexpr Workload kWorkloads[] = {
    {"decode, 1 stream", 32, 128, 1, 0.9},
    {"decode, 8 streams", 32, 128, 8, 1.8},
    {"prompt of 512", 512, 1, 1, 2.0},
    {"prompt of 4096", 4096, 1, 1, 2.0},
};

std::vector<int32_t> RandomPrompt(int64_t tokens, int vocab, std::mt19937& random) {
  std::uniform_int_distribution<int32_t> ids(100, vocab - 1);
  std::vector<int32_t> prompt(static_cast<size_t>(tokens));
  for (int32_t& id : prompt) id = ids(random);
  return prompt;
}

// Tokens a second of one run.
absl::StatusOr<double> RunOnce(ServeTarget& target, const Workload& work, int vocab,
                               std::mt19937& random) {
  std::vector<absl::StatusOr<StreamTimes>> times(static_cast<size_t>(work.streams),
                                                 absl::UnknownError("not run"));
  std::vector<std::thread> threads;
  const absl::Time start = absl::Now();
  for (auto& slot : times) {
    threads.emplace_back([&, prompt = RandomPrompt(work.prompt_tokens, vocab, random)] {
      slot = target.Stream(prompt, work.output_tokens);
    });
  }
  for (std::thread& thread : threads) thread.join();
  const absl::Duration wall = absl::Now() - start;
  int64_t tokens = 0;
  for (const auto& slot : times) {
    RETURN_IF_ERROR(slot.status());
    tokens += slot->tokens;
  }
  if (work.output_tokens == 1) {
    return static_cast<double>(work.prompt_tokens) / absl::ToDoubleSeconds(times[0]->first_token);
  }
  if (work.streams == 1) {
    return static_cast<double>(tokens - 1) /
           absl::ToDoubleSeconds(times[0]->total - times[0]->first_token);
  }
  return static_cast<double>(tokens) / absl::ToDoubleSeconds(wall);
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// rates[target][run]
absl::StatusOr<std::vector<std::vector<double>>> Measure(
    const std::vector<std::unique_ptr<ServeTarget>>& targets, const Workload& work,
    const ServeBenchOptions& options, std::mt19937& random) {
  std::vector<std::vector<double>> rates(targets.size());
  for (int run = -1; run < options.runs; ++run) {  // run -1 warms up
    for (size_t i = 0; i < targets.size(); ++i) {
      ASSIGN_OR_RETURN(const double rate, RunOnce(*targets[i], work, options.vocab, random));
      if (run >= 0) rates[i].push_back(rate);
    }
  }
  return rates;
}

nlohmann::json Row(const std::vector<std::unique_ptr<ServeTarget>>& targets, const Workload& work,
                   const std::vector<std::vector<double>>& rates) {
  nlohmann::json row = {{"workload", work.name}};
  for (size_t i = 0; i < targets.size(); ++i) {
    row["tokens_per_s"][targets[i]->name()] = {{"median", Median(rates[i])}, {"runs", rates[i]}};
  }
  if (targets.size() > 1) {
    row["ratio"] = Median(rates[0]) / Median(rates[1]);
    row["bar"] = work.bar;
  }
  return row;
}

void PrintRow(const nlohmann::json& row, std::ostream& out) {
  const std::string name = row["workload"];
  char line[160];
  const double ours = row["tokens_per_s"]["headgate"]["median"];
  if (row.contains("ratio")) {
    const double peer = row["tokens_per_s"]["llama-server"]["median"];
    std::snprintf(line, sizeof line, "%-20s %10.1f %14.1f %8.2fx %6.1fx\n", name.c_str(), ours,
                  peer, row["ratio"].get<double>(), row["bar"].get<double>());
  } else {
    std::snprintf(line, sizeof line, "%-20s %10.1f\n", name.c_str(), ours);
  }
  out << line << std::flush;
}

}  // namespace

absl::Status RunServeBench(const ServeBenchOptions& options, std::ostream& out) {
  std::vector<std::unique_ptr<ServeTarget>> targets;
  targets.push_back(MakeHeadgateTarget(options.server));
  if (!options.peer.empty()) {
    const std::optional<HostPort> peer = ParseHostPort(options.peer);
    if (!peer.has_value()) {
      return absl::InvalidArgumentError("--peer: give host:port of a llama-server");
    }
    targets.push_back(MakeLlamaServerTarget(peer->host, absl::StrCat(peer->port)));
  }
  if (!options.json) {
    out << "tokens/s, median of " << options.runs << " alternating runs\n"
        << "workload               headgate   llama-server    ratio    bar\n";
  }
  std::mt19937 random(1);
  nlohmann::json rows = nlohmann::json::array();
  for (const Workload& work : kWorkloads) {
    ASSIGN_OR_RETURN(const auto rates, Measure(targets, work, options, random));
    rows.push_back(Row(targets, work, rates));
    if (!options.json) PrintRow(rows.back(), out);
  }
  if (options.json) out << rows.dump(1) << "\n";
  return absl::OkStatus();
}

}  // namespace headgate
