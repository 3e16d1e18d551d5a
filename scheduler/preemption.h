// Whose pages go when a running sequence needs some and none are left. Pure.
#pragma once

#include <memory>
#include <optional>
#include <span>

#include "scheduler/running_set.h"

namespace headgate {

// Index of the youngest sequence (lowest priority, then latest arrival) that is not older than the
// one in need, which may be that one itself. Never the oldest, and none whose pages are guaranteed.
// Empty when there is no such sequence: then the one in need waits.
std::optional<size_t> ChooseVictim(std::span<const std::unique_ptr<Sequence>> oldest_first,
                                   size_t in_need);

}  // namespace headgate
