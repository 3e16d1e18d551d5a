#include "scheduler/router.h"

#include <algorithm>
#include <limits>
#include <tuple>

namespace headgate {
namespace {

constexpr int64_t kPoolShares = 16;

// Larger is better.
using Preference = std::tuple<int64_t, int64_t, int64_t>;

std::optional<Preference> Prefer(const LiveRequest& live, const AdmissionLimits& limits,
                                 const Group& group) {
  if (live.tokens_max() > group.tokens_max) return std::nullopt;
  const PageLedger& ledger = *group.ledger;
  const int64_t tokens = AdmissionTokens(live, limits, ledger.page_tokens());
  int64_t shares = kPoolShares;
  int64_t pages = std::numeric_limits<int64_t>::max();
  for (int rank = 0; rank < ledger.ranks(); ++rank) {
    const int64_t free = ledger.Free(rank) - ledger.WorstCase(rank, tokens);
    // Sequences that fill the last page at once would be preempted at once.
    const bool alone = group.running.empty() || limits.growth_parts == 0;
    const int64_t growth = alone ? 0 : ledger.Total(rank) / limits.growth_parts;
    if (free < growth) return std::nullopt;
    shares = std::min(shares, free * kPoolShares / std::max<int64_t>(1, ledger.Total(rank)));
    pages = std::min(pages, free);
  }
  return Preference{shares, -group.running.size(), pages};
}

}  // namespace

std::optional<size_t> ChooseGroup(const LiveRequest& live, const AdmissionLimits& limits,
                                  std::span<const Group> groups, std::span<const uint8_t> open) {
  std::optional<size_t> best;
  Preference best_preference;
  for (size_t i = 0; i < groups.size(); ++i) {
    if (open[i] == 0) continue;
    const std::optional<Preference> preference = Prefer(live, limits, groups[i]);
    if (!preference.has_value()) continue;
    if (best.has_value() && !(*preference > best_preference)) continue;
    best = i;
    best_preference = *preference;
  }
  return best;
}

}  // namespace headgate
