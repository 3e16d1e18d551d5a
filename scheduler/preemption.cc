#include "scheduler/preemption.h"

#include "scheduler/planted_bug.h"

namespace headgate {

std::optional<size_t> ChooseVictim(std::span<const std::unique_ptr<Sequence>> oldest_first,
                                   size_t in_need) {
  if (PlantedBug(Bug::kOldestPreempted) && oldest_first.size() > 1) return 0;
  for (size_t i = oldest_first.size(); i-- > 1 && i >= in_need;) {
    if (!oldest_first[i]->guaranteed) return i;
  }
  return std::nullopt;
}

}  // namespace headgate
