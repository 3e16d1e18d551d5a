// What `headgate bench step` measures, before any weight is made: a shape, what its heads keep and
// which rank holds them. Plain data.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "base/model_shape.h"
#include "cli/bench/step_bench.h"
#include "kvstore/head_placement.h"
#include "kvstore/visibility.h"

namespace headgate {

struct StepSetup {
  ModelShape shape;
  HeadPlacement placement;
  std::vector<RowSpec> rows;  // [layers, kv_heads] of the whole model
  int64_t page_layers = 0;    // with pages of their own; the others share them
  int64_t positions_max = 0;  // of a sequence
};

// Positions that a sequence has at the end of a measurement of `steps` steps.
int64_t StepPositions(int64_t context, int64_t steps);

// INVALID_ARGUMENT for an unknown shape, a context beyond its positions, ranks that it cannot be
// cut into, layers that cannot share pages; the errors of LoadPolicyBundle.
absl::StatusOr<StepSetup> SetUpSteps(const StepBenchOptions& options);

}  // namespace headgate
