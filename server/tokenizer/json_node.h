// A value inside a parsed JSON document that knows its own path, so that every complaint about a
// file names the key. Borrows from the document. Immutable.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace headgate {

inline constexpr int kNestingMax = 8;  // of "Sequence" parts in one another

class JsonNode final {
 public:
  JsonNode(const nlohmann::json& value, std::string path)
      : value_(&value), path_(std::move(path)) {}

  const nlohmann::json& value() const { return *value_; }
  const std::string& path() const { return path_; }

  // Is `key` there and not null? False when this is no object.
  bool Has(std::string_view key) const;

  // Fields of an object. INVALID_ARGUMENT, naming the key, when missing or of another type.
  absl::StatusOr<JsonNode> At(std::string_view key) const;
  absl::StatusOr<std::string> String(std::string_view key) const;
  absl::StatusOr<int64_t> Integer(std::string_view key) const;
  absl::StatusOr<std::vector<JsonNode>> List(std::string_view key) const;
  absl::StatusOr<bool> Bool(std::string_view key, bool if_absent) const;

  // INVALID_ARGUMENT: "<path><.key> <what>".
  absl::Status Error(std::string_view key, std::string_view what) const;

 private:
  std::string PathOf(std::string_view key) const;

  const nlohmann::json* value_;
  std::string path_;
};

}  // namespace headgate
