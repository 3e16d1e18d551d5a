// Weights of a shape without a checkpoint: random numbers of the size that trained ones have. For
// measurements; the answers mean nothing.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "base/model_shape.h"
#include "worker/backend.h"
#include "worker/model/shard.h"
#include "worker/model/weights.h"

namespace headgate {

struct RandomWeights {
  ModelWeights weights;
  int64_t bytes = 0;       // of all matrices, in device form
  int64_t read_bytes = 0;  // of those that a decode step reads whole: all but the embedding
};

// The same seed gives the same weights. Errors: Backend::Pack's. Biases and head norms are left out
// even where the family has them.
absl::StatusOr<RandomWeights> MakeRandomWeights(const ModelShape& shape, const RankShard& shard,
                                                uint64_t seed, WeightFormat format,
                                                Backend& backend);

}  // namespace headgate
