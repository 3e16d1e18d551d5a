#include "server/tokenizer/pattern.h"

#include <string>

#include "base/absl_view.h"
#include "base/status_macros.h"

namespace headgate {

absl::StatusOr<Regex> ParsePattern(const JsonNode& node) {
  ASSIGN_OR_RETURN(const JsonNode pattern, node.At("pattern"));
  const bool is_regex = pattern.Has("Regex");
  ASSIGN_OR_RETURN(const std::string text, pattern.String(is_regex ? "Regex" : "String"));
  absl::StatusOr<Regex> regex = is_regex ? Regex::Compile(text) : Regex::Literal(text);
  if (!regex.ok())
    return pattern.Error(is_regex ? "Regex" : "String", StdView(regex.status().message()));
  return regex;
}

}  // namespace headgate
