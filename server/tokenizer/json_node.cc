#include "server/tokenizer/json_node.h"

#include "absl/strings/str_cat.h"
#include "base/absl_view.h"
#include "base/status_macros.h"

namespace headgate {

std::string JsonNode::PathOf(std::string_view key) const {
  if (key.empty()) return path_;
  return path_.empty() ? std::string(key) : absl::StrCat(path_, ".", AbslView(key));
}

absl::Status JsonNode::Error(std::string_view key, std::string_view what) const {
  return absl::InvalidArgumentError(absl::StrCat(PathOf(key), " ", AbslView(what)));
}

bool JsonNode::Has(std::string_view key) const {
  if (!value_->is_object()) return false;
  const auto found = value_->find(key);
  return found != value_->end() && !found->is_null();
}

absl::StatusOr<JsonNode> JsonNode::At(std::string_view key) const {
  if (!value_->is_object()) return Error("", "must be an object");
  const auto found = value_->find(key);
  if (found == value_->end()) return Error(key, "is missing");
  return JsonNode(*found, PathOf(key));
}

absl::StatusOr<std::string> JsonNode::String(std::string_view key) const {
  ASSIGN_OR_RETURN(const JsonNode field, At(key));
  if (!field.value().is_string()) return Error(key, "must be a string");
  return field.value().get_ref<const std::string&>();
}

absl::StatusOr<int64_t> JsonNode::Integer(std::string_view key) const {
  ASSIGN_OR_RETURN(const JsonNode field, At(key));
  if (!field.value().is_number_integer()) return Error(key, "must be an integer");
  return field.value().get<int64_t>();
}

absl::StatusOr<std::vector<JsonNode>> JsonNode::List(std::string_view key) const {
  ASSIGN_OR_RETURN(const JsonNode field, At(key));
  if (!field.value().is_array()) return Error(key, "must be a list");
  std::vector<JsonNode> items;
  items.reserve(field.value().size());
  for (size_t i = 0; i < field.value().size(); ++i) {
    items.emplace_back(field.value()[i], absl::StrCat(PathOf(key), "[", i, "]"));
  }
  return items;
}

absl::StatusOr<bool> JsonNode::Bool(std::string_view key, bool if_absent) const {
  if (!Has(key)) return if_absent;
  ASSIGN_OR_RETURN(const JsonNode field, At(key));
  if (!field.value().is_boolean()) return Error(key, "must be true or false");
  return field.value().get<bool>();
}

}  // namespace headgate
