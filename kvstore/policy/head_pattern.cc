#include "kvstore/policy/head_pattern.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "base/stored_file.h"
#include "base/strict_json.h"
#include "nlohmann/json.hpp"

namespace headgate {
namespace {

constexpr char kGatesFile[] = "full_attention_heads.tsv";
constexpr char kConfigFile[] = "config.json";
constexpr int64_t kLayersMax = 1024;
constexpr int64_t kHeadsMax = 1024;
// Training leaves gates slightly outside [0, 1]; anything farther out is not a gate.
constexpr double kGateSlack = 0.1;

absl::Status ParseRow(absl::string_view line, int64_t row, absl::string_view file,
                      HeadPattern& pattern) {
  int64_t column = 0;
  for (const absl::string_view field : absl::StrSplit(line, '\t')) {
    ++column;
    double gate = 0.0;
    const bool number = absl::SimpleAtod(field, &gate);
    if (!number || !(-kGateSlack <= gate && gate <= 1.0 + kGateSlack)) {
      return absl::InvalidArgumentError(
          absl::StrCat(file, ": row ", row, ", column ", column, ": not a gate value in [0, 1]"));
    }
    pattern.gates.push_back(std::clamp(gate, 0.0, 1.0));
  }
  if (row == 1) pattern.kv_heads = column;
  if (column != pattern.kv_heads || column > kHeadsMax || row > kLayersMax) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": row ", row, " has ", column,
                                                   " columns, expected ", pattern.kv_heads,
                                                   " (at most ", kHeadsMax, ")"));
  }
  ++pattern.layers;
  return absl::OkStatus();
}

absl::StatusOr<int64_t> ReadTokens(const nlohmann::json& config, const char* key, int64_t least,
                                   absl::string_view file) {
  const auto it = config.find(key);
  const bool number = it != config.end() && it->is_number_integer();
  const int64_t tokens = number ? it->get<int64_t>() : -1;
  if (!(least <= tokens && tokens <= kWindowMax)) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": ", key, " is not an integer in [", least, ", ", kWindowMax, "]"));
  }
  return tokens;
}

}  // namespace

absl::StatusOr<HeadPattern> ParseHeadPattern(absl::string_view tsv, absl::string_view config_json,
                                             absl::string_view name) {
  HeadPattern pattern;
  const std::string gates_file = absl::StrCat(name, "/", kGatesFile);
  const std::string config_file = absl::StrCat(name, "/", kConfigFile);
  absl::string_view rest = absl::StripSuffix(tsv, "\n");
  if (absl::StripSuffix(rest, "\r").empty()) {
    return absl::InvalidArgumentError(absl::StrCat(gates_file, ": no rows"));
  }
  int64_t row = 0;
  for (const absl::string_view line : absl::StrSplit(rest, '\n')) {
    RETURN_IF_ERROR(ParseRow(absl::StripSuffix(line, "\r"), ++row, gates_file, pattern));
  }
  ASSIGN_OR_RETURN(
      const nlohmann::json config,
      ParseStrictJson({config_json.data(), config_json.size()}, config_file, kPolicyJsonDepthMax));
  if (!config.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(config_file, ": not a JSON object"));
  }
  ASSIGN_OR_RETURN(pattern.sinks, ReadTokens(config, "sink_size", 0, config_file));
  ASSIGN_OR_RETURN(pattern.recent, ReadTokens(config, "recent_size", 1, config_file));
  return pattern;
}

absl::StatusOr<HeadPattern> LoadHeadPattern(const std::string& folder) {
  ASSIGN_OR_RETURN(const std::string tsv,
                   ReadSmallFile(absl::StrCat(folder, "/", kGatesFile), kPolicyFileBytesMax));
  ASSIGN_OR_RETURN(const std::string config,
                   ReadSmallFile(absl::StrCat(folder, "/", kConfigFile), kPolicyFileBytesMax));
  return ParseHeadPattern(tsv, config, folder);
}

std::vector<bool> FullHeadsBySparsity(const HeadPattern& pattern, double sparsity) {
  CHECK(0.0 <= sparsity && sparsity <= 1.0) << "sparsity " << sparsity;
  const size_t heads = pattern.gates.size();
  std::vector<size_t> order(heads);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return pattern.gates[a] < pattern.gates[b]; });
  const double quantile = static_cast<double>(heads - 1) * sparsity;
  const auto streaming = sparsity == 1.0 ? heads : static_cast<size_t>(std::ceil(quantile));
  std::vector<bool> full(heads, true);
  for (size_t i = 0; i < streaming; ++i) full[order[i]] = false;
  return full;
}

std::vector<bool> FullHeadsByThreshold(const HeadPattern& pattern, double threshold) {
  std::vector<bool> full;
  for (const double gate : pattern.gates) full.push_back(gate >= threshold);
  return full;
}

}  // namespace headgate
