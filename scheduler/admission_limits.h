// How cautiously requests enter a group (scheduler/admission.h, scheduler/router.h).
#pragma once

#include <cstdint>

namespace headgate {

struct AdmissionLimits {
  int64_t preemptions_max = 4;  // of one request; its next residence is guaranteed
  int64_t growth_parts = 16;    // 1/n of each pool is left to what already runs; 0 = nothing is
};

}  // namespace headgate
