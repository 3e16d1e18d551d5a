// Shapes of well-known models, for measurements with random weights: no files needed. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/model_shape.h"

namespace headgate {

// INVALID_ARGUMENT lists the names that there are. Numbers: the models' published config.json.
absl::StatusOr<ModelShape> NamedShape(std::string_view name);

std::vector<std::string> ShapeNames();

}  // namespace headgate
