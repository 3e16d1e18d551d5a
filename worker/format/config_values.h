// Typed, range-checked values of one JSON object. Every error names the file and the key. Borrows
// the object: it must outlive this. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ids.h"
#include "nlohmann/json.hpp"

namespace headgate {

// INVALID_ARGUMENT from every getter: key missing (where no default is given), of another type, or
// out of [low, high]. A key whose value is null counts as missing.
class ConfigValues final {
 public:
  // `object`: a JSON object. `prefix` stands before each key in messages: "rope_scaling.".
  ConfigValues(const nlohmann::json& object, std::string path, std::string prefix = "")
      : object_(object), path_(std::move(path)), prefix_(std::move(prefix)) {}

  bool Has(const std::string& key) const;

  absl::StatusOr<int64_t> Integer(const std::string& key, int64_t low, int64_t high) const;
  absl::StatusOr<int64_t> Integer(const std::string& key, int64_t low, int64_t high,
                                  int64_t absent) const;
  absl::StatusOr<double> Number(const std::string& key, double low, double high) const;
  absl::StatusOr<double> Number(const std::string& key, double low, double high,
                                double absent) const;
  absl::StatusOr<bool> Boolean(const std::string& key, bool absent) const;
  absl::StatusOr<std::string> Text(const std::string& key, const std::string& absent) const;
  // The elements of an array of strings; empty when the key is missing.
  absl::StatusOr<std::vector<std::string>> Texts(const std::string& key) const;
  // One token id or an array of at most 64, each below `vocab`; empty when the key is missing.
  absl::StatusOr<std::vector<TokenId>> TokenIds(const std::string& key, int64_t vocab) const;
  // The values of a nested object; messages name it. REQUIRES: Has(key).
  absl::StatusOr<ConfigValues> Object(const std::string& key) const;

  // "<path>: <key> <problem>".
  absl::Status Invalid(const std::string& key, const std::string& problem) const;
  absl::Status Unsupported(const std::string& key, const std::string& problem) const;

 private:
  std::string Message(const std::string& key, const std::string& problem) const;
  absl::Status Missing(const std::string& key) const;

  const nlohmann::json& object_;
  std::string path_;
  std::string prefix_;
};

}  // namespace headgate
