// Where a model comes from. Pure functions of the files; any thread.
#pragma once

#include <string>
#include <variant>

#include "absl/status/statusor.h"
#include "base/model_shape.h"

namespace headgate {

// A folder in the Hugging Face layout.
struct ModelFolder {
  std::string path;
};

// A well-known shape (named_shape.h) with random weights: no files, answers without meaning. For
// measurements.
struct RandomModel {
  std::string shape;
};

using ModelSource = std::variant<ModelFolder, RandomModel>;

// Errors: ReadModelConfig's or NamedShape's.
absl::StatusOr<ModelShape> ReadShape(const ModelSource& source);

// What the model is called where nobody names it: its folder's last part, or its shape.
std::string DefaultName(const ModelSource& source);

}  // namespace headgate
