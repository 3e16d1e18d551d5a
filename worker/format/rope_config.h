// Rotary embedding parameters from config.json, in the spelling of transformers 4 (rope_theta,
// rope_scaling) or 5 (rope_parameters). Pure function.
#pragma once

#include "absl/status/statusor.h"
#include "base/model_shape.h"
#include "worker/format/config_values.h"

namespace headgate {

// UNIMPLEMENTED, by name, for a rope type other than default, linear and llama3.
absl::StatusOr<RopeParams> ReadRopeParams(const ConfigValues& config);

}  // namespace headgate
