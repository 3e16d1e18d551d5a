// JSON into values, and values into JSON text as Python's json.dumps writes it. Any thread.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "server/template/value.h"

namespace headgate::jinja {

// The whole document gets one provenance. Integers beyond int64 become floats.
absl::StatusOr<Value> FromJson(Budget& budget, const nlohmann::ordered_json& json, bool trusted);

// Arguments of json.dumps; defaults as transformers' tojson filter has them.
struct JsonStyle {
  bool ensure_ascii = false;
  std::optional<std::string> indent;  // text of one level; set = one element a line
  std::string item_separator = ", ";  // "," with indent
  std::string key_separator = ": ";
  bool sort_keys = false;
};

// INVALID_ARGUMENT for what JSON cannot express. Trusted only when everything in `value` is.
absl::StatusOr<Value> ToJson(Budget& budget, const Value& value, const JsonStyle& style);

}  // namespace headgate::jinja
