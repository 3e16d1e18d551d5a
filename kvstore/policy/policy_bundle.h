// A retention policy as the rows of a model: what every (layer, kv head) keeps. Loaded once.
//
// A bundle is a folder with the two files of head_pattern.h and, optionally, policy.json:
//   {"kind": "duo", "sinks": 64, "recent": 256, "sparsity": 0.5}      or "threshold" for "sparsity"
//   {"kind": "full"}                                                  (no other file needed)
// A folder that DuoAttention published works as it is. docs/policies.md describes every key.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kvstore/visibility.h"

namespace headgate {

// What flags say; each wins over policy.json, which wins over config.json.
struct PolicyOptions {
  std::optional<int64_t> sinks;     // tokens
  std::optional<int64_t> recent;    // tokens
  std::optional<double> sparsity;   // share of heads that stream, [0, 1]
  std::optional<double> threshold;  // full when gate >= threshold, [0, 1]; not with sparsity
};

// The model that a policy is for.
struct PolicyTarget {
  int64_t layers = 0;
  int64_t kv_heads = 0;  // per layer, all ranks
  int64_t page_tokens = 0;
};

struct PolicyBundle {
  std::string id;  // equal exactly when rows and page size are; pages of two are not mixed
  std::vector<RowSpec> rows;  // [layers, kv_heads]; sinks and windows rounded up to whole pages
};

// Every head keeps everything.
PolicyBundle FullPolicy(const PolicyTarget& target);

// INVALID_ARGUMENT or NOT_FOUND: one line with the file and key, or the two head counts that
// differ.
absl::StatusOr<PolicyBundle> LoadPolicyBundle(const std::string& folder,
                                              const PolicyOptions& options,
                                              const PolicyTarget& target);

}  // namespace headgate
