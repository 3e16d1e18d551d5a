// Who may enter, and with how many pages: pure functions of a request and what the groups said.
#pragma once

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "base/request.h"
#include "scheduler/admission_limits.h"
#include "scheduler/group.h"
#include "scheduler/request_table.h"

namespace headgate {

// INVALID_ARGUMENT naming the field: what no group could ever compute.
absl::Status CheckFields(const Request& request, int64_t prompt_tokens_max);

// INVALID_ARGUMENT when the request can never run on any group that was ever up: its token ids, or
// its longest form (prompt and max_tokens, no eviction credited) against the largest group. OK when
// no group is known yet: the request waits and is checked when one is.
absl::Status CheckFits(const Request& request, std::span<const Group> groups);

// Pages for the whole life of the request, so that it is never preempted again?
bool Guaranteed(const LiveRequest& live, const AdmissionLimits& limits);

// Positions to reserve at admission: all that is to be computed and one more. Each earlier
// preemption asks for more headroom, so that a full pool does not thrash; a guaranteed residence
// takes the whole life of the request.
int64_t AdmissionTokens(const LiveRequest& live, const AdmissionLimits& limits,
                        int64_t page_tokens);

}  // namespace headgate
