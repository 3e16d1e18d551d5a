// JSON from files that nobody vouches for. Pure function.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace headgate {

// Parses a whole text. DATA_LOSS, beginning with `path` and naming the byte, when it is not
// well-formed UTF-8 JSON, holds a key twice in one object, or nests deeper than `depth_max`.
absl::StatusOr<nlohmann::json> ParseStrictJson(std::string_view text, const std::string& path,
                                               int depth_max);

}  // namespace headgate
