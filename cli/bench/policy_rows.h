// What `--policy` and `--sparsity` of a measurement say that every kv head keeps.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kvstore/policy/policy_bundle.h"
#include "kvstore/visibility.h"

namespace headgate {

// [layers, kv_heads] of the target. `policy`: a pattern's folder, of which `sparsity` (negative:
// the folder's own threshold) picks the streaming heads. Empty: that share of every layer's kv
// heads streams, spread evenly; none for a negative one. Errors: LoadPolicyBundle's.
absl::StatusOr<std::vector<RowSpec>> PolicyRows(const std::string& policy, double sparsity,
                                                const PolicyTarget& target);

}  // namespace headgate
