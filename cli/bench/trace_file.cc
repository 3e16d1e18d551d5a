#include "cli/bench/trace_file.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"

namespace headgate {
namespace {

constexpr int64_t kTokensMax = int64_t{1} << 24;
constexpr double kSecondsMax = 1e6;

bool ReadTokens(absl::string_view field, int64_t& tokens) {
  return absl::SimpleAtoi(field, &tokens) && 1 <= tokens && tokens <= kTokensMax;
}

bool ReadLine(const std::vector<absl::string_view>& fields, TraceRequest& request) {
  if (!ReadTokens(fields[0], request.prompt_tokens)) return false;
  if (!ReadTokens(fields[1], request.output_tokens)) return false;
  if (fields.size() == 2) return true;
  double seconds = 0.0;
  if (!absl::SimpleAtod(fields[2], &seconds) || !(0.0 <= seconds && seconds <= kSecondsMax)) {
    return false;
  }
  request.arrival = absl::Seconds(seconds);
  return true;
}

}  // namespace

absl::StatusOr<std::vector<TraceRequest>> ReadTrace(std::istream& in, const std::string& file) {
  std::vector<TraceRequest> requests;
  size_t columns = 0;
  int64_t number = 0, tokens = 0;
  const auto error = [&](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat(file, ":", number, ": ", what));
  };
  for (std::string line; std::getline(in, line);) {
    ++number;
    const std::vector<absl::string_view> fields =
        absl::StrSplit(line, absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
    if (fields.empty() || fields[0].front() == '#') continue;
    if (columns == 0) columns = fields.size();
    TraceRequest request;
    if (fields.size() != columns || !(2 <= columns && columns <= 3) || !ReadLine(fields, request)) {
      return error("give prompt tokens and output tokens, and on all lines or none the seconds");
    }
    if (!requests.empty() && request.arrival < requests.back().arrival) {
      return error("arrives before the line above");
    }
    if (static_cast<int64_t>(requests.size()) == kTraceRequestsMax) {
      return error(absl::StrCat("a replay takes at most ", kTraceRequestsMax, " requests"));
    }
    tokens += request.prompt_tokens + request.output_tokens;
    if (tokens > kTraceTokensMax) {
      return error(absl::StrCat("a replay takes at most ", kTraceTokensMax,
                                " prompt and output tokens in all"));
    }
    requests.push_back(request);
  }
  if (requests.empty()) return absl::InvalidArgumentError(absl::StrCat(file, ": no requests"));
  return requests;
}

}  // namespace headgate
