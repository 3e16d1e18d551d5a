#include "server/tokenizer/normalizer.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "server/tokenizer/pattern.h"
#include "server/tokenizer/unicode_nfc.h"

namespace headgate {
namespace {

absl::StatusOr<std::string> ReplaceAll(std::string_view text, const Regex& pattern,
                                       std::string_view content) {
  std::string replaced;
  replaced.reserve(text.size());
  size_t copied = 0;
  Regex::Cursor cursor(pattern, text);
  while (true) {
    ASSIGN_OR_RETURN(const std::optional<TextSpan> span, cursor.Next());
    if (!span) break;
    replaced.append(text.substr(copied, span->begin - copied)).append(content);
    copied = span->end;
  }
  replaced.append(text.substr(copied));
  return replaced;
}

}  // namespace

absl::Status Normalizer::ParseStep(const JsonNode& node, int depth, std::vector<Step>* steps) {
  if (depth > kNestingMax) return node.Error("", "is nested too deeply");
  ASSIGN_OR_RETURN(const std::string type, node.String("type"));
  if (type == "Sequence") {
    ASSIGN_OR_RETURN(const std::vector<JsonNode> parts, node.List("normalizers"));
    for (const JsonNode& part : parts) RETURN_IF_ERROR(ParseStep(part, depth + 1, steps));
  } else if (type == "Prepend") {
    ASSIGN_OR_RETURN(std::string text, node.String("prepend"));
    steps->push_back(Prepend{std::move(text)});
  } else if (type == "Replace") {
    ASSIGN_OR_RETURN(Regex pattern, ParsePattern(node));
    ASSIGN_OR_RETURN(std::string content, node.String("content"));
    steps->push_back(Replace{std::move(pattern), std::move(content)});
  } else if (type == "NFC") {
    steps->push_back(Nfc{});
  } else {
    return node.Error("type", absl::StrCat("\"", type,
                                           "\" is not supported; supported normalizers: Sequence, "
                                           "Prepend, Replace, NFC"));
  }
  return absl::OkStatus();
}

absl::StatusOr<Normalizer> Normalizer::Parse(const JsonNode& root) {
  Normalizer normalizer;
  if (!root.Has("normalizer")) return normalizer;
  ASSIGN_OR_RETURN(const JsonNode node, root.At("normalizer"));
  RETURN_IF_ERROR(ParseStep(node, 0, &normalizer.steps_));
  return normalizer;
}

absl::StatusOr<std::string> Normalizer::Apply(std::string_view text) const {
  std::string normalized(text);
  for (const Step& step : steps_) {
    if (const auto* prepend = std::get_if<Prepend>(&step)) {
      if (!normalized.empty()) normalized.insert(0, prepend->text);
    } else if (const auto* replace = std::get_if<Replace>(&step)) {
      ASSIGN_OR_RETURN(normalized, ReplaceAll(normalized, replace->pattern, replace->content));
    } else {
      normalized = ToNfc(normalized);
    }
  }
  return normalized;
}

}  // namespace headgate
