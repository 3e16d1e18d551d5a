#include "cli/bench/trace_bench.h"

#include <algorithm>
#include <fstream>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"

namespace headgate {
namespace {

// Nearest-rank percentiles and the mean, in seconds.
nlohmann::json Percentiles(std::vector<double> seconds) {
  if (seconds.empty()) return nullptr;
  std::sort(seconds.begin(), seconds.end());
  double sum = 0.0;
  for (const double one : seconds) sum += one;
  const auto at = [&seconds](int64_t percent) {  // rank: percent of n / 100, rounded up, from 1
    const auto n = static_cast<int64_t>(seconds.size());
    return seconds[static_cast<size_t>((percent * n + 99) / 100 - 1)];
  };
  return {{"mean", sum / static_cast<double>(seconds.size())},
          {"p50", at(50)},
          {"p90", at(90)},
          {"p99", at(99)},
          {"max", seconds.back()}};
}

// Output tokens a second of the stretch in which all requests decode: from the last first token to
// the first end. Null where there is no such stretch.
nlohmann::json AllDecoding(const std::vector<RequestTimes>& requests) {
  absl::Duration since, until = absl::InfiniteDuration();
  std::vector<absl::Duration> times;  // of all tokens but the first ones
  for (const RequestTimes& request : requests) {
    if (!request.status.ok()) continue;
    absl::Duration at = request.start + request.first_token;
    since = std::max(since, at);
    for (const absl::Duration gap : request.gaps) times.push_back(at += gap);
    until = std::min(until, at);
  }
  if (times.empty() || !(since < until)) return nullptr;
  const auto count = std::count_if(times.begin(), times.end(), [&](absl::Duration time) {
    return since < time && time <= until;
  });
  const double seconds = absl::ToDoubleSeconds(until - since);
  return {{"s", seconds}, {"tokens_per_s", static_cast<double>(count) / seconds}};
}

void PrintPercentiles(const char* name, const nlohmann::json& values, std::ostream& out) {
  if (values.is_null()) return;
  out << absl::StreamFormat("%-22s %9.1f %9.1f %9.1f %9.1f %9.1f\n", name,
                            1e3 * values["mean"].get<double>(), 1e3 * values["p50"].get<double>(),
                            1e3 * values["p90"].get<double>(), 1e3 * values["p99"].get<double>(),
                            1e3 * values["max"].get<double>());
}

void PrintSummary(const nlohmann::json& summary, std::ostream& out) {
  out << absl::StreamFormat(
      "%d requests completed, %d failed, %.2f s\n"
      "%d prompt tokens and %d output tokens: %.1f tokens/s, output alone %.1f\n"
      "%-22s %9s %9s %9s %9s %9s\n",
      summary["completed"].get<int64_t>(), summary["failed"].get<int64_t>(),
      summary["s"].get<double>(), summary["prompt_tokens"].get<int64_t>(),
      summary["output_tokens"].get<int64_t>(), summary["tokens_per_s"].get<double>(),
      summary["output_tokens_per_s"].get<double>(), "ms", "mean", "p50", "p90", "p99", "max");
  PrintPercentiles("to the first token", summary["first_token_s"], out);
  PrintPercentiles("between tokens", summary["between_tokens_s"], out);
  if (const nlohmann::json& all = summary["all_decoding"]; !all.is_null()) {
    out << absl::StreamFormat("all decoding, %.2f s: %.1f output tokens/s\n",
                              all["s"].get<double>(), all["tokens_per_s"].get<double>());
  }
}

}  // namespace

nlohmann::json Summarize(const ReplayTimes& times) {
  int64_t completed = 0, prompt_tokens = 0, output_tokens = 0;
  std::vector<double> first, gaps;
  nlohmann::json summary;
  for (const RequestTimes& request : times.requests) {
    if (!request.status.ok()) {
      if (!summary.contains("first_failure")) summary["first_failure"] = request.status.ToString();
      continue;
    }
    ++completed;
    prompt_tokens += request.prompt_tokens;
    output_tokens += request.output_tokens;
    first.push_back(absl::ToDoubleSeconds(request.first_token));
    for (const absl::Duration gap : request.gaps) gaps.push_back(absl::ToDoubleSeconds(gap));
  }
  const double seconds = std::max(absl::ToDoubleSeconds(times.total), 1e-9);
  summary["requests"] = times.requests.size();
  summary["completed"] = completed;
  summary["failed"] = static_cast<int64_t>(times.requests.size()) - completed;
  summary["s"] = seconds;
  summary["prompt_tokens"] = prompt_tokens;
  summary["output_tokens"] = output_tokens;
  summary["tokens_per_s"] = static_cast<double>(prompt_tokens + output_tokens) / seconds;
  summary["output_tokens_per_s"] = static_cast<double>(output_tokens) / seconds;
  summary["first_token_s"] = Percentiles(std::move(first));
  summary["between_tokens_s"] = Percentiles(std::move(gaps));
  summary["all_decoding"] = AllDecoding(times.requests);
  return summary;
}

absl::Status CheckCompleted(const ReplayTimes& times) {
  absl::Status first;
  int64_t failed = 0;
  for (const RequestTimes& request : times.requests) {
    if (request.status.ok()) continue;
    if (failed++ == 0) first = request.status;
  }
  if (failed == 0) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat(failed, " of ", times.requests.size(),
                                             " requests failed, the first: ", first.ToString()));
}

absl::Status RunTraceBench(const TraceBenchOptions& options, std::ostream& out) {
  std::ifstream in(options.trace);
  if (!in) return absl::NotFoundError(absl::StrCat("--trace ", options.trace, ": no such file"));
  ASSIGN_OR_RETURN(std::vector<TraceRequest> trace, ReadTrace(in, options.trace));
  if (options.at_once) {
    for (TraceRequest& request : trace) request.arrival = absl::ZeroDuration();
  }
  ASSIGN_OR_RETURN(const ReplayTimes times, ReplayTrace(trace, {.server = options.server}));
  const nlohmann::json summary = Summarize(times);
  if (options.json) {
    out << summary << "\n" << std::flush;
  } else {
    PrintSummary(summary, out);
    out << std::flush;
  }
  return CheckCompleted(times);
}

}  // namespace headgate
