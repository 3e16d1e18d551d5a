#include "worker/model/model_source.h"

#include <filesystem>

#include "worker/format/model_config.h"
#include "worker/model/named_shape.h"

namespace headgate {

absl::StatusOr<ModelShape> ReadShape(const ModelSource& source) {
  if (const auto* random = std::get_if<RandomModel>(&source)) return NamedShape(random->shape);
  return ReadModelConfig(std::get<ModelFolder>(source).path);
}

std::string DefaultName(const ModelSource& source) {
  if (const auto* random = std::get_if<RandomModel>(&source)) return random->shape;
  const std::string& path = std::get<ModelFolder>(source).path;
  return std::filesystem::path(path + "/.").lexically_normal().parent_path().filename().string();
}

}  // namespace headgate
