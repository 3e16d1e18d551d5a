// Exponentials of a logits row, fast enough for a row of 100,000 per sequence and step. Pure
// functions; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"

namespace headgate {

struct Peak {
  TokenId token = -1;  // highest logit; of equal ones the lowest id. -1 when not finite
  float logit = 0.0f;
  bool finite = false;  // every logit is; false for an empty row
};

Peak FindPeak(std::span<const float> logits);

// out[i] = exp((logits[i] - peak) * scale); returns their sum. REQUIRES: logits[i] <= peak,
// scale >= 0, may be infinite. Relative error of e^x: below 3e-7 + 1.2e-7 |x|; below e^-85 it is 0.
double ExpAndSum(std::span<const float> logits, float peak, double scale, std::vector<float>& out);

// log(sum(exp(logits))); `scratch` is overwritten.
double LogSumExp(std::span<const float> logits, float peak, std::vector<float>& scratch);

}  // namespace headgate
