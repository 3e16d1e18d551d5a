// Weights of a shape without a checkpoint: random numbers of the size that trained ones have. For
// measurements; the answers mean nothing.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "base/model_shape.h"
#include "worker/backend.h"
#include "worker/model/shard.h"
#include "worker/model/weight_formats.h"
#include "worker/model/weight_loader.h"

namespace headgate {

// The same seed gives the same weights. Errors: Backend::Pack's. Biases and head norms are left out
// even where the family has them.
absl::StatusOr<LoadedWeights> MakeRandomWeights(const ModelShape& shape, const RankShard& shard,
                                                const WeightFormats& formats, uint64_t seed,
                                                Backend& backend, const LoadProgress& progress);

}  // namespace headgate
