// A checkpoint's weights, cut to one rank's shard and packed for its device. Runs once at start-up.
#pragma once

#include <functional>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/model_shape.h"
#include "worker/backend.h"
#include "worker/format/checkpoint.h"
#include "worker/model/shard.h"
#include "worker/model/weight_formats.h"
#include "worker/model/weights.h"

namespace headgate {

// Called with the fraction done, in [0, 1], on the loading thread.
using LoadProgress = std::function<void(double fraction)>;

struct LoadedWeights {
  ModelWeights weights;
  int64_t bytes = 0;  // packed, this rank
  int matrices = 0;
  int matrices_as_stored = 0;  // of them: kept the stored format because the wanted one did not fit
};

// REQUIRES: CheckWeights(checkpoint, shape) passed. Errors are the files' and the backend's. Reads
// a matrix at a time: host memory stays near that of one embedding.
absl::StatusOr<LoadedWeights> LoadWeights(const Checkpoint& checkpoint, const ModelShape& shape,
                                          const RankShard& shard, const WeightFormats& formats,
                                          Backend& backend, const LoadProgress& progress);

}  // namespace headgate
