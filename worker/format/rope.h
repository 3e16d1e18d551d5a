// Rotary frequencies of a model. Pure function.
#pragma once

#include <cstdint>
#include <vector>

#include "base/model_shape.h"

namespace headgate {

// inv_freq [head_dim / 2]: position p turns the pair (i, i + head_dim / 2) by p * inv_freq[i].
// theta^(-2i / head_dim) (Su et al., 2021, section 3.3), then linear or llama3 scaling as in
// transformers' modeling_rope_utils.py. Computed in double. REQUIRES: head_dim even and positive;
// `rope` as ReadModelConfig returns it.
std::vector<float> RopeFrequencies(const RopeParams& rope, int64_t head_dim);

}  // namespace headgate
