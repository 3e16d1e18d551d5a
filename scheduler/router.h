// Which group takes a request. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "scheduler/admission.h"
#include "scheduler/group.h"
#include "scheduler/request_table.h"

namespace headgate {

// Index into `groups`, among those with open[i], where the request's admission pages are free: most
// free pages first (as sixteenths of the pool of the fullest rank, after this admission), then
// fewest running sequences, then most free pages exactly, then lowest index. Empty: nowhere now.
std::optional<size_t> ChooseGroup(const LiveRequest& live, const AdmissionLimits& limits,
                                  std::span<const Group> groups, std::span<const uint8_t> open);

}  // namespace headgate
