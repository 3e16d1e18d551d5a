// Which packed format a model's weights get: an operator's choice, or what the converter noted in
// the model folder's headgate.json. Pure functions; any thread.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "worker/backend.h"

namespace headgate {

struct WeightFormats {
  WeightFormat linear = WeightFormat::kAsStored;     // attention and MLP matrices
  WeightFormat embedding = WeightFormat::kAsStored;  // embedding and output head

  bool operator==(const WeightFormats&) const = default;
};

// `choice`: "as-stored", "fp32", "bf16", "int8", "int4" (embedding and head: int8), or "auto":
// headgate.json's {"weights": {"linear": F, "embedding": F}} where there is one, else as stored.
// An empty `model_dir`: there is none.
// Formats that the checkpoint itself once had are lossless. INVALID_ARGUMENT for another word,
// DATA_LOSS for a broken headgate.json.
absl::StatusOr<WeightFormats> ChooseWeightFormats(std::string_view choice,
                                                  const std::string& model_dir);

// The format that a matrix with `inputs` columns gets: int8 and int4 need groups of 32 inputs; a
// matrix without keeps what the checkpoint has.
WeightFormat FormatThatFits(WeightFormat wanted, int64_t inputs);

}  // namespace headgate
