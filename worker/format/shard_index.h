// model.safetensors.index.json: which shard holds which tensor. Pure function.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace headgate {

// {"metadata": {...}, "weight_map": {tensor: file}} -> the map from tensor to file. DATA_LOSS,
// beginning with `path`, for any other structure, for a file name that is not a plain *.safetensors
// name in the same folder, and for more than 4,096 files.
absl::StatusOr<std::map<std::string, std::string>> ParseShardIndex(std::string_view text,
                                                                   const std::string& path);

}  // namespace headgate
