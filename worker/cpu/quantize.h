// Groups of 32 weights as fp16 scale (and minimum) and small integers. A group that lies on such a
// grid already (it came from int4 or int8 groups) is reproduced exactly. Stateless.
#pragma once

#include <cstdint>
#include <span>

namespace headgate {

struct Int8Group {
  uint16_t scale = 0;  // fp16
  int8_t q[32] = {};   // w = scale * q
};

struct Int4Group {
  uint16_t scale = 0;    // fp16
  uint16_t minimum = 0;  // fp16
  uint8_t q[32] = {};    // w = scale * q + minimum, q in 0..15
};

// False when a weight is not finite or too large for fp16.
bool QuantizeInt8(std::span<const float, 32> w, Int8Group& group);
bool QuantizeInt4(std::span<const float, 32> w, Int4Group& group);

}  // namespace headgate
