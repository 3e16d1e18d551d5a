#include "scheduler/group.h"

#include <algorithm>

#include "scheduler/planted_bug.h"

namespace headgate {

int64_t MostSequences(const GroupShape& shape) {
  int64_t most = kSequencesUnlimited;
  if (PlantedBug(Bug::kSequencesUncounted)) return most;
  for (const RankShape& rank : shape.ranks) most = std::min(most, rank.sequences_max);
  return most;
}

int64_t LongestSequence(const GroupShape& shape, const PageLedger& ledger) {
  int64_t fits = 0;
  int64_t too_long = shape.max_positions + 1;
  while (too_long - fits > 1) {
    const int64_t middle = fits + (too_long - fits) / 2;
    (ledger.FitsEver(middle) ? fits : too_long) = middle;
  }
  return fits;
}

}  // namespace headgate
