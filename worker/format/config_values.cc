#include "worker/format/config_values.h"

#include "absl/strings/str_cat.h"

namespace headgate {
namespace {

constexpr size_t kTokenIdsMax = 64;
constexpr size_t kTextsMax = 4096;
constexpr size_t kValueBytesShown = 80;

// A value for a message: ASCII, and cut.
std::string Shown(const nlohmann::json& value) {
  return value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace)
      .substr(0, kValueBytesShown);
}

// Integers above the signed range are out of every range that we allow.
bool IsIntegerIn(const nlohmann::json& value, int64_t low, int64_t high) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<uint64_t>();
    return high >= 0 && number <= static_cast<uint64_t>(high) &&
           (low <= 0 || number >= static_cast<uint64_t>(low));
  }
  if (!value.is_number_integer()) return false;
  const auto number = value.get<int64_t>();
  return low <= number && number <= high;
}

}  // namespace

bool ConfigValues::Has(const std::string& key) const {
  const auto found = object_.find(key);
  return found != object_.end() && !found->is_null();
}

absl::StatusOr<int64_t> ConfigValues::Integer(const std::string& key, int64_t low,
                                              int64_t high) const {
  if (!Has(key)) return Missing(key);
  const nlohmann::json& value = object_[key];
  if (!IsIntegerIn(value, low, high)) {
    return Invalid(key, absl::StrCat("is ", Shown(value), ", it must be an integer in [", low, ", ",
                                     high, "]"));
  }
  return value.get<int64_t>();
}

absl::StatusOr<int64_t> ConfigValues::Integer(const std::string& key, int64_t low, int64_t high,
                                              int64_t absent) const {
  if (!Has(key)) return absent;
  return Integer(key, low, high);
}

absl::StatusOr<double> ConfigValues::Number(const std::string& key, double low, double high) const {
  if (!Has(key)) return Missing(key);
  const nlohmann::json& value = object_[key];
  if (!value.is_number() || !(low <= value.get<double>() && value.get<double>() <= high)) {
    return Invalid(
        key, absl::StrCat("is ", Shown(value), ", it must be a number in [", low, ", ", high, "]"));
  }
  return value.get<double>();
}

absl::StatusOr<double> ConfigValues::Number(const std::string& key, double low, double high,
                                            double absent) const {
  if (!Has(key)) return absent;
  return Number(key, low, high);
}

absl::StatusOr<bool> ConfigValues::Boolean(const std::string& key, bool absent) const {
  if (!Has(key)) return absent;
  const nlohmann::json& value = object_[key];
  if (!value.is_boolean()) {
    return Invalid(key, absl::StrCat("is ", Shown(value), ", it must be true or false"));
  }
  return value.get<bool>();
}

absl::StatusOr<std::string> ConfigValues::Text(const std::string& key,
                                               const std::string& absent) const {
  if (!Has(key)) return absent;
  const nlohmann::json& value = object_[key];
  if (!value.is_string()) {
    return Invalid(key, absl::StrCat("is ", Shown(value), ", it must be a string"));
  }
  return value.get<std::string>();
}

absl::StatusOr<std::vector<std::string>> ConfigValues::Texts(const std::string& key) const {
  std::vector<std::string> texts;
  if (!Has(key)) return texts;
  const nlohmann::json& value = object_[key];
  if (!value.is_array() || value.size() > kTextsMax) {
    return Invalid(key, absl::StrCat("must be an array of at most ", kTextsMax, " strings"));
  }
  for (const nlohmann::json& item : value) {
    if (!item.is_string()) {
      return Invalid(key, absl::StrCat("holds ", Shown(item), ", it must hold strings"));
    }
    texts.push_back(item.get<std::string>());
  }
  return texts;
}

absl::StatusOr<std::vector<TokenId>> ConfigValues::TokenIds(const std::string& key,
                                                            int64_t vocab) const {
  std::vector<TokenId> ids;
  if (!Has(key)) return ids;
  const nlohmann::json& value = object_[key];
  const nlohmann::json list = value.is_array() ? value : nlohmann::json::array({value});
  if (list.size() > kTokenIdsMax) {
    return Invalid(key, absl::StrCat("holds more than ", kTokenIdsMax, " token ids"));
  }
  for (const nlohmann::json& item : list) {
    if (!IsIntegerIn(item, 0, vocab - 1)) {
      return Invalid(
          key, absl::StrCat("holds ", Shown(item), ", a token id must be in [0, ", vocab - 1, "]"));
    }
    ids.push_back(item.get<TokenId>());
  }
  return ids;
}

absl::StatusOr<ConfigValues> ConfigValues::Object(const std::string& key) const {
  const nlohmann::json& value = object_[key];
  if (!value.is_object()) {
    return Invalid(key, absl::StrCat("is ", Shown(value), ", it must be an object"));
  }
  return ConfigValues(value, path_, absl::StrCat(prefix_, key, "."));
}

absl::Status ConfigValues::Invalid(const std::string& key, const std::string& problem) const {
  return absl::InvalidArgumentError(Message(key, problem));
}

absl::Status ConfigValues::Unsupported(const std::string& key, const std::string& problem) const {
  return absl::UnimplementedError(Message(key, problem));
}

std::string ConfigValues::Message(const std::string& key, const std::string& problem) const {
  return absl::StrCat(path_, ": ", prefix_, key, " ", problem);
}

absl::Status ConfigValues::Missing(const std::string& key) const {
  return Invalid(key, "is missing");
}

}  // namespace headgate
