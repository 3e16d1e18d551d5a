// The "pattern" object that several parts of tokenizer.json share.
#pragma once

#include "absl/status/statusor.h"
#include "server/tokenizer/json_node.h"
#include "server/tokenizer/regex.h"

namespace headgate {

// {"String": text} or {"Regex": expression} at `node`.pattern.
absl::StatusOr<Regex> ParsePattern(const JsonNode& node);

}  // namespace headgate
