#include "server/template/model_template.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/stored_file.h"
#include "base/strict_json.h"
#include "nlohmann/json.hpp"

namespace headgate {
namespace {

using nlohmann::json;

constexpr size_t kConfigBytesMax = 16 << 20;
constexpr int kConfigDepthMax = 64;

absl::StatusOr<json> ReadConfig(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(path, kConfigBytesMax));
  ASSIGN_OR_RETURN(json config, ParseStrictJson(text, path, kConfigDepthMax));
  if (!config.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is not a JSON object"));
  }
  return config;
}

// A token is a string or an object with its text in "content"; null or absent: none.
absl::StatusOr<std::string> TokenText(const json& config, const char* key) {
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) return std::string();
  if (found->is_string()) return found->get<std::string>();
  if (found->is_object() && found->contains("content") && (*found)["content"].is_string()) {
    return (*found)["content"].get<std::string>();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("tokenizer_config.json: ", key, " must be a string or have a content"));
}

absl::StatusOr<std::optional<std::string>> NamedTemplate(const json& config) {
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) return std::nullopt;
  if (found->is_string()) return std::make_optional(found->get<std::string>());
  const auto malformed = absl::InvalidArgumentError(
      "tokenizer_config.json: chat_template must be a string or a list of {name, template}");
  if (!found->is_array()) return malformed;
  for (const json& entry : *found) {
    const bool complete = entry.is_object() && entry.contains("name") &&
                          entry["name"].is_string() && entry.contains("template") &&
                          entry["template"].is_string();
    if (!complete) return malformed;
    if (entry["name"] == "default") return std::make_optional(entry["template"].get<std::string>());
  }
  return absl::InvalidArgumentError(
      "tokenizer_config.json: no chat_template is named default; rename one");
}

}  // namespace

absl::StatusOr<std::optional<ModelTemplate>> LoadChatTemplate(const std::string& model_dir,
                                                              const TemplateLimits& limits) {
  ASSIGN_OR_RETURN(const json config,
                   ReadConfig(absl::StrCat(model_dir, "/tokenizer_config.json")));
  ASSIGN_OR_RETURN(std::string bos_token, TokenText(config, "bos_token"));
  ASSIGN_OR_RETURN(std::string eos_token, TokenText(config, "eos_token"));
  const std::string file = absl::StrCat(model_dir, "/chat_template.jinja");
  std::optional<std::string> source;
  std::error_code ignored;
  if (std::filesystem::exists(file, ignored)) {
    ASSIGN_OR_RETURN(source, ReadSmallFile(file, limits.template_bytes_max));
  } else {
    ASSIGN_OR_RETURN(source, NamedTemplate(config));
  }
  if (!source.has_value()) return std::nullopt;
  ASSIGN_OR_RETURN(ChatTemplate parsed, ChatTemplate::Parse(*source, limits));
  return std::make_optional(ModelTemplate{std::move(parsed), *std::move(source),
                                          std::move(bos_token), std::move(eos_token)});
}

}  // namespace headgate
