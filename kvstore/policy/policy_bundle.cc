#include "kvstore/policy/policy_bundle.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "base/stored_file.h"
#include "base/strict_json.h"
#include "kvstore/policy/head_pattern.h"
#include "nlohmann/json.hpp"

namespace headgate {
namespace {

constexpr double kThresholdDefault = 0.5;  // as published with the patterns

struct PolicyJson {
  bool full = false;  // kind
  PolicyOptions options;
};

absl::Status CheckOptions(const PolicyOptions& options, absl::string_view where) {
  const auto bad = [where](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat(where, ": ", what));
  };
  if (options.sinks && !(0 <= *options.sinks && *options.sinks <= kWindowMax)) {
    return bad("sinks is not in [0, 1048576]");
  }
  if (options.recent && !(1 <= *options.recent && *options.recent <= kWindowMax)) {
    return bad("recent is not in [1, 1048576]");
  }
  if (options.sparsity && !(0.0 <= *options.sparsity && *options.sparsity <= 1.0)) {
    return bad("sparsity is not in [0, 1]");
  }
  if (options.threshold && !(0.0 <= *options.threshold && *options.threshold <= 1.0)) {
    return bad("threshold is not in [0, 1]");
  }
  if (options.sparsity && options.threshold) return bad("give sparsity or threshold, not both");
  return absl::OkStatus();
}

absl::StatusOr<PolicyJson> ParsePolicyJson(const std::string& text, const std::string& file) {
  ASSIGN_OR_RETURN(const nlohmann::json json, ParseStrictJson(text, file, kPolicyJsonDepthMax));
  if (!json.is_object()) return absl::InvalidArgumentError(file + ": not a JSON object");
  PolicyJson policy;
  bool kind_given = false;
  for (const auto& [key, value] : json.items()) {
    if (key == "kind" && value.is_string() && (value == "full" || value == "duo")) {
      policy.full = value == "full";
      kind_given = true;
    } else if (key == "sinks" && value.is_number_integer()) {
      policy.options.sinks = value.get<int64_t>();
    } else if (key == "recent" && value.is_number_integer()) {
      policy.options.recent = value.get<int64_t>();
    } else if (key == "sparsity" && value.is_number()) {
      policy.options.sparsity = value.get<double>();
    } else if (key == "threshold" && value.is_number()) {
      policy.options.threshold = value.get<double>();
    } else {
      return absl::InvalidArgumentError(absl::StrCat(
          file, ": key \"", absl::CHexEscape(key.substr(0, 64)),
          "\" is unknown or of the wrong type; known: kind (full, duo), sinks, recent, sparsity, "
          "threshold"));
    }
  }
  if (!kind_given) return absl::InvalidArgumentError(file + ": kind is missing (full or duo)");
  RETURN_IF_ERROR(CheckOptions(policy.options, file));
  return policy;
}

// The one rounding rule of kvstore/visibility.h: up to whole pages.
int64_t RoundUp(int64_t tokens, int64_t page_tokens) {
  return (tokens + page_tokens - 1) / page_tokens * page_tokens;
}

// FNV-1a over the numbers that decide what is kept. Stable across machines and releases.
std::string Fingerprint(absl::string_view kind, const std::vector<RowSpec>& rows,
                        const PolicyTarget& target) {
  uint64_t hash = 0xcbf29ce484222325u;
  const auto add = [&hash](int64_t number) {
    for (int shift = 0; shift < 64; shift += 8) {
      hash = (hash ^ ((static_cast<uint64_t>(number) >> shift) & 0xff)) * 0x100000001b3u;
    }
  };
  for (const int64_t number : {target.page_tokens, target.layers, target.kv_heads}) add(number);
  for (const RowSpec& row : rows) {
    for (const int64_t number : {static_cast<int64_t>(row.head_class), row.sinks, row.window}) {
      add(number);
    }
  }
  return absl::StrCat(kind, "-", absl::Hex(hash, absl::kZeroPad16));
}

}  // namespace

PolicyBundle FullPolicy(const PolicyTarget& target) {
  PolicyBundle bundle;
  bundle.rows.resize(static_cast<size_t>(target.layers * target.kv_heads));
  bundle.id = Fingerprint("full", bundle.rows, target);
  return bundle;
}

absl::StatusOr<PolicyBundle> LoadPolicyBundle(const std::string& folder,
                                              const PolicyOptions& options,
                                              const PolicyTarget& target) {
  RETURN_IF_ERROR(CheckOptions(options, "policy flags"));
  PolicyJson json;
  const std::string json_file = absl::StrCat(folder, "/policy.json");
  absl::StatusOr<std::string> text = ReadSmallFile(json_file, kPolicyFileBytesMax);
  if (text.ok()) {
    ASSIGN_OR_RETURN(json, ParsePolicyJson(*text, json_file));
  } else if (!absl::IsNotFound(text.status())) {
    return text.status();
  }
  if (json.full) return FullPolicy(target);

  ASSIGN_OR_RETURN(const HeadPattern pattern, LoadHeadPattern(folder));
  if (pattern.layers != target.layers || pattern.kv_heads != target.kv_heads) {
    return absl::InvalidArgumentError(absl::StrCat(
        folder, ": the pattern is for ", pattern.layers, " layers of ", pattern.kv_heads,
        " kv heads, the model has ", target.layers, " of ", target.kv_heads));
  }
  const bool flag_decides = options.sparsity || options.threshold;
  const PolicyOptions& split = flag_decides ? options : json.options;
  const std::vector<bool> full =
      split.sparsity ? FullHeadsBySparsity(pattern, *split.sparsity)
                     : FullHeadsByThreshold(pattern, split.threshold.value_or(kThresholdDefault));
  const int64_t sinks = options.sinks.value_or(json.options.sinks.value_or(pattern.sinks));
  const int64_t recent = options.recent.value_or(json.options.recent.value_or(pattern.recent));
  const RowSpec streaming{HeadClass::kStreaming, RoundUp(sinks, target.page_tokens),
                          RoundUp(recent, target.page_tokens)};
  PolicyBundle bundle = FullPolicy(target);
  bool any_streaming = false;
  for (size_t i = 0; i < full.size(); ++i) {
    if (full[i]) continue;
    bundle.rows[i] = streaming;
    any_streaming = true;
  }
  if (any_streaming) bundle.id = Fingerprint("duo", bundle.rows, target);
  return bundle;
}

}  // namespace headgate
