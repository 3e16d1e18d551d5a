#include "server/tokenizer/post_processor.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "server/tokenizer/vocabulary.h"

namespace headgate {
namespace {

absl::Status AppendSpecial(const JsonNode& node, const std::string& name,
                           std::vector<TokenId>* ids) {
  ASSIGN_OR_RETURN(const JsonNode specials, node.At("special_tokens"));
  ASSIGN_OR_RETURN(const JsonNode special, specials.At(name));
  ASSIGN_OR_RETURN(const std::vector<JsonNode> list, special.List("ids"));
  for (const JsonNode& id : list) {
    if (!id.value().is_number_integer()) return id.Error("", "must be an integer");
    const auto value = id.value().get<int64_t>();
    if (!(0 <= value && value <= Vocabulary::kIdMax)) return id.Error("", "is out of range");
    ids->push_back(static_cast<TokenId>(value));
  }
  return absl::OkStatus();
}

absl::Status ParseTemplate(const JsonNode& node, PostProcessor* post) {
  ASSIGN_OR_RETURN(const std::vector<JsonNode> pieces, node.List("single"));
  bool behind_text = false;
  for (const JsonNode& piece : pieces) {
    if (piece.Has("Sequence")) {
      if (behind_text) return piece.Error("", "is a second Sequence, which is not supported");
      behind_text = true;
      continue;
    }
    ASSIGN_OR_RETURN(const JsonNode special, piece.At("SpecialToken"));
    ASSIGN_OR_RETURN(const std::string name, special.String("id"));
    RETURN_IF_ERROR(AppendSpecial(node, name, behind_text ? &post->suffix : &post->prefix));
  }
  if (!behind_text) return node.Error("single", "must hold a Sequence");
  return absl::OkStatus();
}

absl::Status ParseProcessor(const JsonNode& node, int depth, bool* has_template,
                            PostProcessor* post) {
  if (depth > kNestingMax) return node.Error("", "is nested too deeply");
  ASSIGN_OR_RETURN(const std::string type, node.String("type"));
  if (type == "ByteLevel") return absl::OkStatus();
  if (type == "Sequence") {
    ASSIGN_OR_RETURN(const std::vector<JsonNode> parts, node.List("processors"));
    for (const JsonNode& part : parts) {
      RETURN_IF_ERROR(ParseProcessor(part, depth + 1, has_template, post));
    }
    return absl::OkStatus();
  }
  if (type == "TemplateProcessing") {
    if (*has_template) return node.Error("", "is a second TemplateProcessing, not supported");
    *has_template = true;
    return ParseTemplate(node, post);
  }
  return node.Error("type", absl::StrCat("\"", type,
                                         "\" is not supported; supported post-processors: "
                                         "ByteLevel, TemplateProcessing, Sequence"));
}

}  // namespace

absl::StatusOr<PostProcessor> PostProcessor::Parse(const JsonNode& root) {
  PostProcessor post;
  if (!root.Has("post_processor")) return post;
  ASSIGN_OR_RETURN(const JsonNode node, root.At("post_processor"));
  bool has_template = false;
  RETURN_IF_ERROR(ParseProcessor(node, 0, &has_template, &post));
  return post;
}

}  // namespace headgate
