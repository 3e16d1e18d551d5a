#include "cli/bench/step_setup.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "cli/bench/policy_rows.h"
#include "worker/model/named_shape.h"

namespace headgate {
namespace {

absl::Status CheckContexts(const StepBenchOptions& options, const ModelShape& shape) {
  for (const int64_t context : options.contexts) {
    if (StepPositions(context, options.steps) <= shape.max_positions) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "--context ", context, ": ", options.shape, " has ", shape.max_positions,
        " positions, and the steps need ", StepPositions(0, options.steps), " of them"));
  }
  return absl::OkStatus();
}

// Layers that share pages must keep the same positions of the same number of heads, on every rank.
absl::Status CheckSharing(const StepSetup& setup, int ranks) {
  const int64_t pages = setup.page_layers, layers = setup.shape.layers;
  if (!(1 <= pages && pages <= layers)) {
    return absl::InvalidArgumentError(absl::StrCat("--page-layers ", pages, ": the shape has ",
                                                   layers, " layers; give 1 to ", layers));
  }
  for (int rank = 0; rank < ranks; ++rank) {
    const auto rows = RowsOfRank(setup.placement, rank, setup.rows, setup.shape.kv_heads);
    for (int64_t layer = pages; layer < layers; ++layer) {
      if (rows[static_cast<size_t>(layer)] == rows[static_cast<size_t>(layer % pages)]) continue;
      return absl::InvalidArgumentError(absl::StrCat(
          "--page-layers ", pages, ": the heads of layer ", layer,
          " do not keep what those of layer ", layer % pages,
          " keep, whose pages they would share; leave out --policy, or --page-layers"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

int64_t StepPositions(int64_t context, int64_t steps) {
  return context + 1 + StepBenchOptions::kWarmUpSteps + steps;
}

absl::StatusOr<StepSetup> SetUpSteps(const StepBenchOptions& options) {
  if (options.ranks > 1 && options.device.starts_with("cuda:")) {
    return absl::InvalidArgumentError(absl::StrCat("--device ", options.device, ": ", options.ranks,
                                                   " ranks need a GPU each; give --device cuda"));
  }
  StepSetup setup;
  ASSIGN_OR_RETURN(setup.shape, NamedShape(options.shape));
  const ModelShape& shape = setup.shape;
  RETURN_IF_ERROR(CheckContexts(options, shape));
  setup.positions_max = StepPositions(
      *std::max_element(options.contexts.begin(), options.contexts.end()), options.steps);
  ASSIGN_OR_RETURN(setup.rows, PolicyRows(options.policy, options.sparsity,
                                          {shape.layers, shape.kv_heads, options.page_tokens}));
  ASSIGN_OR_RETURN(setup.placement, PlaceHeads(setup.rows, shape.kv_heads, options.ranks));
  setup.page_layers = options.page_layers == 0 ? shape.layers : options.page_layers;
  RETURN_IF_ERROR(CheckSharing(setup, options.ranks));
  return setup;
}

}  // namespace headgate
