#include "cli/bench/policy_rows.h"

#include <cmath>
#include <cstdint>

#include "base/status_macros.h"

namespace headgate {
namespace {

// DuoAttention's for its published patterns (arXiv 2410.10819).
constexpr int64_t kSinks = 64;
constexpr int64_t kRecent = 256;

std::vector<RowSpec> SpreadStreaming(const PolicyTarget& target, double share) {
  const auto whole_pages = [&target](int64_t tokens) {
    return (tokens + target.page_tokens - 1) / target.page_tokens * target.page_tokens;
  };
  const RowSpec streaming{HeadClass::kStreaming, whole_pages(kSinks), whole_pages(kRecent)};
  const int64_t heads = target.kv_heads;
  const int64_t count = std::llround(share * static_cast<double>(heads));
  std::vector<RowSpec> rows;
  for (int64_t i = 0; i < target.layers * heads; ++i) {
    const int64_t head = i % heads;
    const bool streams = (head + 1) * count / heads > head * count / heads;
    rows.push_back(streams ? streaming : RowSpec());
  }
  return rows;
}

}  // namespace

absl::StatusOr<std::vector<RowSpec>> PolicyRows(const std::string& policy, double sparsity,
                                                const PolicyTarget& target) {
  if (policy.empty()) {
    return sparsity >= 0 ? SpreadStreaming(target, sparsity) : FullPolicy(target).rows;
  }
  PolicyOptions chosen;
  if (sparsity >= 0) chosen.sparsity = sparsity;
  ASSIGN_OR_RETURN(const PolicyBundle bundle, LoadPolicyBundle(policy, chosen, target));
  return bundle.rows;
}

}  // namespace headgate
