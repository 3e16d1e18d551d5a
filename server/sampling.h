// The sampling part of a validated request. Pure function, but for the random seed.
#pragma once

#include "base/sampling_params.h"
#include "headgate/v1/inference.pb.h"

namespace headgate {

// Absent fields get their defaults; an absent seed is random. REQUIRES: Validate passed.
SamplingParams ToSamplingParams(const v1::GenerateRequest& request);

}  // namespace headgate
