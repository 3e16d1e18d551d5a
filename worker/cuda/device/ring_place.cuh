// Where a thread stands in a ring of stages that barriers guard. Device code.
#pragma once

#include <cstdint>

namespace headgate {

struct RingPlace {
  int stage = 0;
  uint32_t phase = 0;  // of the stage's barrier: changes with every round

  __device__ void Advance(int stages) {
    if (++stage == stages) {
      stage = 0;
      phase ^= 1;
    }
  }
};

}  // namespace headgate
