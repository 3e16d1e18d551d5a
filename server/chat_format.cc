#include "server/chat_format.h"

#include <fstream>
#include <iterator>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status_macros.h"

namespace headgate {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kFileBytesMax = 16 << 20;

// nullopt when there is no such file.
absl::StatusOr<std::optional<std::string>> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::optional<std::string>();
  std::string text;
  text.reserve(4096);
  for (std::istreambuf_iterator<char> it(file), end; it != end; ++it) {
    if (text.size() >= kFileBytesMax) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": larger than 16 MiB"));
    }
    text.push_back(*it);
  }
  return std::optional<std::string>(std::move(text));
}

// A special token is a string, or an object with "content".
std::string TokenText(const Json& entry) {
  if (entry.is_string()) return entry.get<std::string>();
  if (entry.is_object() && entry.contains("content") && entry["content"].is_string()) {
    return entry["content"].get<std::string>();
  }
  return {};
}

// "chat_template" is a text, or a list of named ones, of which "default" counts.
std::optional<std::string> TemplateText(const Json& config) {
  if (!config.contains("chat_template")) return std::nullopt;
  const Json& entry = config["chat_template"];
  if (entry.is_string()) return entry.get<std::string>();
  if (!entry.is_array()) return std::nullopt;
  for (const Json& named : entry) {
    if (named.is_object() && named.value("name", Json()) == "default" &&
        named.contains("template") && named["template"].is_string()) {
      return named["template"].get<std::string>();
    }
  }
  return std::nullopt;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const ChatFormat>> ChatFormat::Load(const std::string& model_dir) {
  const std::string config_path = model_dir + "/tokenizer_config.json";
  ASSIGN_OR_RETURN(std::optional<std::string> config_text, ReadFile(config_path));
  Json config = Json::object();
  if (config_text.has_value()) {
    config = Json::parse(*config_text, nullptr, /*allow_exceptions=*/false);
    if (!config.is_object()) {
      return absl::InvalidArgumentError(absl::StrCat(config_path, ": not a JSON object"));
    }
  }
  ASSIGN_OR_RETURN(std::optional<std::string> source, ReadFile(model_dir + "/chat_template.jinja"));
  if (!source.has_value()) source = TemplateText(config);
  if (!source.has_value()) return std::shared_ptr<const ChatFormat>();
  absl::StatusOr<ChatTemplate> parsed = ChatTemplate::Parse(*source);
  if (!parsed.ok()) {
    return absl::Status(parsed.status().code(),
                        absl::StrCat(model_dir, ": chat template: ", parsed.status().message()));
  }
  Json tokens = Json::object();
  for (std::string_view key : kSpecialTokenKeys) {
    const std::string name(key);
    if (!config.contains(name)) continue;
    if (std::string text = TokenText(config[name]); !text.empty()) tokens[name] = text;
  }
  return std::make_shared<const ChatFormat>(*std::move(parsed), std::move(tokens));
}

absl::StatusOr<std::vector<RenderedPiece>> ChatFormat::Render(const v1::ChatMessages& chat) const {
  Json context = special_tokens_;
  Json messages = Json::array();
  for (const v1::ChatMessage& message : chat.messages()) {
    messages.push_back({{"role", message.role()}, {"content", message.content()}});
  }
  context["messages"] = std::move(messages);
  context["add_generation_prompt"] = true;
  absl::StatusOr<std::vector<RenderedPiece>> pieces = template_.Render(context, RealClock());
  if (pieces.ok()) return pieces;
  // The template's own message may quote the conversation.
  return absl::InvalidArgumentError("chat: the model's template refuses these messages");
}

}  // namespace headgate
